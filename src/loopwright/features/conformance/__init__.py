"""What the ports of ``features`` promise, as test classes that every adapter runs."""
