"""The room ``statistics``."""
