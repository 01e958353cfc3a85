"""The room ``estimators``."""
