"""The door of the same process: models answered inside an application of one's own, with log, metrics and releases."""
