"""Statistics of the loop, pure: arrays in, numbers out, each function with its source and published test values.

Reads nothing, writes nothing, knows no clock; randomness comes in as a seed.
"""
