"""What every adapter of a port of the ground must do; importable by adapters elsewhere."""
