"""What rows come from: declarations of sources, and how each is listed and read."""
