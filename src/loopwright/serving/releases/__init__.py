"""Versions on trial: who is asked, what the arms show, and when one is promoted or rolled back."""
