"""Contracts from other tools: pandera's schemas and Great Expectations' suites."""
