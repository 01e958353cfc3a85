"""The room ``versions``."""
