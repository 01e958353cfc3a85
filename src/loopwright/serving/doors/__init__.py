"""The routes of the REST door, one file for each family."""
