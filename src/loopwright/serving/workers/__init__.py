"""Worker processes behind one socket: the supervisor, what it says to its workers, promotion in two phases, metrics."""
