"""The room ``features``."""
