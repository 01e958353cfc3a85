"""The four waists: bytes by content, rows in versioned tables, facts in SQL, events in order."""
