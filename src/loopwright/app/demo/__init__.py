"""The demonstration: the story of one loop, told on real HTTP traffic."""
