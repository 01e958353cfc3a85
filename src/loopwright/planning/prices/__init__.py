"""Prices of machines, commitments, network and managed services, each row with its source and its day."""
