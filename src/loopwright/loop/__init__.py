"""The loop itself: the declared project, the turn, and what decides that another turn begins.

The floor above the rooms. It calls them in lifecycle order and carries data from one to the next; no room calls it.
"""
