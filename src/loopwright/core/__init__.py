"""The ground floor: errors, time, identity, settings, lineage, the four waists and pure statistics.

Every room stands on it; it imports no room.
"""
