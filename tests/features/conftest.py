"""The lake, with a short way to make a snapshot of a hand-made table."""

from __future__ import annotations

import pytest

from loopwright.data.lake import Lake


class TestLake(Lake):
    """A lake that takes tables."""

    __test__ = False

    def add(self, dataset, table):
        """Push a table and return the snapshot; every row must pass the contract."""
        report = self.push(dataset, table)
        assert report.rows_quarantined == 0, report.reasons
        return report.snapshot


@pytest.fixture
def lake(stores):
    return TestLake(stores)
