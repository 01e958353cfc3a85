"""The room ``migrations``."""
