"""What a request body of rows may be, and how each form becomes rows."""
