"""The exercise, planned once."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from loopwright.planning.plan import Plan
from loopwright.planning.planner import make_plan
from loopwright.planning.prices.table import PriceTable
from loopwright.planning.workload_file import Request, read_workload

TODAY = date(2026, 8, 1)
EXAMPLES = Path(__file__).parents[2] / "examples" / "plans"


@pytest.fixture(scope="session")
def price_table() -> PriceTable:
    return PriceTable.load(today=TODAY)


@pytest.fixture(scope="session")
def image_request() -> Request:
    return read_workload(EXAMPLES / "image-classification.toml")


@pytest.fixture(scope="session")
def image_plan(image_request: Request, price_table: PriceTable) -> Plan:
    asked = image_request
    return make_plan(asked.workload, asked.services, asked.training, price_table, today=TODAY)
