"""The rows that a contract kept out."""
