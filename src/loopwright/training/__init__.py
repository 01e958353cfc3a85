"""The room ``training``."""
