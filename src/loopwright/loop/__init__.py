"""The room ``loop``."""
