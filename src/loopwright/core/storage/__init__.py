"""The room ``storage``."""
