"""The room ``registry``."""
