from __future__ import annotations

import csv
from pathlib import Path

import pytest

from loopwright.core.errors import UnknownNameError
from loopwright.core.prices import object_storage
from loopwright.core.prices.object_storage import break_even_months, storage_classes


@pytest.mark.parametrize("provider", ["aws", "gcp", "azure"])
def test_prices_keep_the_rules(provider: str) -> None:
    first, *colder = storage_classes(provider)
    assert (first.min_days, first.min_object_bytes, first.usd_per_gb_retrieval) == (0, 0, 0.0)
    assert all(one.source and one.as_of.year >= 2024 for one in (first, *colder))
    for one in colder:
        assert one.min_days >= 30
        assert break_even_months(first, one, 10**9) is not None


def test_figures_are_those_of_their_source(shared_data: Path) -> None:
    with (shared_data / "unit_prices.csv").open() as file:
        known = {
            (row["provider"], row["tier"]): float(row["usd"])
            for row in csv.DictReader(file)
            if row["service"] == "object_storage" and "europe" not in row["conditions"]
        }
    names = {"hot": "hot_lrs", "cool": "cool_lrs"}
    for provider in ("aws", "gcp", "azure"):
        for one in storage_classes(provider):
            assert one.usd_per_gb_month == known[provider, names.get(one.name, one.name)]


def test_an_unknown_provider_is_said() -> None:
    with pytest.raises(UnknownNameError, match=r"aws, azure, gcp"):
        object_storage.storage_classes("hetzner")
