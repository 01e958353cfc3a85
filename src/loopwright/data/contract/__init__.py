"""What rows must satisfy, as declared: columns and checks, light, and JSON both ways."""
