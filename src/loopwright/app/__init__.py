"""The room ``app``."""
