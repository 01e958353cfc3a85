"""The room ``data``."""
