"""The annex: from a workload and a measured model to a plan. Imports ``core`` only."""
