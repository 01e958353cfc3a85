"""The room ``monitoring``."""
