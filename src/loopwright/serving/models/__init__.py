"""The versions that a server holds: followed, loaded, warmed up, swapped and let go."""
