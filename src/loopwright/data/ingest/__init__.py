"""Bringing rows in, exactly once: judged, staged, committed and recorded."""
