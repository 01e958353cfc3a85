"""Prices with a date and a source each, as tables in the package."""
