from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.prices.object_storage import storage_classes
from loopwright.data.dataset import Dataset
from loopwright.data.lake import Lake
from loopwright.data.sources.push import push
from loopwright.data.versions.lifecycle import lifecycle_rules
from loopwright.data.versions.tiering import StoredGroup, option_of, plan_tiering, stored_groups

if TYPE_CHECKING:
    from loopwright.core.clock import ManualClock
    from loopwright.core.storage.stores import Stores


def group(objects: int, size_bytes: int, prefix: str = "blobs/", *, may_be_packed: bool = False) -> StoredGroup:
    return StoredGroup(prefix, objects, objects * size_bytes, (size_bytes,) * objects, may_be_packed)


def test_small_objects_cost_more_to_move_than_they_save() -> None:
    """A month of one million images a day, of 100 KB: the worked figures of AWS' list prices."""
    small = group(30_416, 100_000)
    hot, cold = storage_classes("aws")[:2]
    option = option_of(small, hot, cold, 12, packed=False)
    assert option.move_usd == pytest.approx(0.304, abs=0.001)  # a thousandth of 304 USD for 30.4 million
    assert option.break_even_months == pytest.approx(14.3, abs=0.05)
    assert option.net_usd < 0
    plan = plan_tiering([small], "aws")
    assert (plan.groups[0].advice, plan.saved_usd_per_month) == ("leave", 0)
    assert "costs more than it saves" in plan.groups[0].why
    packed = plan_tiering([group(30_416, 100_000, may_be_packed=True)], "aws").groups[0]
    assert packed.advice == "pack and move"
    large = plan_tiering([group(24, 128_000_000)], "aws").groups[0]
    assert large.advice == "move"
    assert large.best is not None
    assert (large.best.break_even_months or 1) < 0.1


def test_leaving_early_is_billed() -> None:
    hot, *_, deep = storage_classes("aws")
    big = group(10, 10**9)
    stay = 2.0
    found = option_of(big, hot, deep, stay, packed=False)
    months = 180 / (365 / 12) - stay
    expected = 10 * (hot.usd_per_gb_month - deep.usd_per_gb_month) * stay - 10 * 0.05 / 1000
    assert found.net_usd == pytest.approx(expected - months * 10 * deep.usd_per_gb_month, rel=1e-4)  # less its index


@given(
    sizes=st.lists(st.integers(1, 10**10), min_size=1, max_size=8),
    provider=st.sampled_from(["aws", "gcp", "azure"]),
    months=st.floats(0.1, 60),
)
def test_advice_never_loses_money(sizes: list[int], provider: str, months: float) -> None:
    found = StoredGroup("tables/datasets/d/", len(sizes), sum(sizes), tuple(sizes), may_be_packed=True)
    plan = plan_tiering([found], provider, horizon_months=months, reads_at_once=False).groups[0]
    assert (plan.best is None) == (plan.advice == "leave")
    if plan.best is not None:
        assert plan.best.net_usd > 0
        assert plan.best.net_usd == max(one.net_usd for one in plan.options)
        assert (plan.best.break_even_months or 0) <= months


def test_the_rules_are_those_of_the_plan() -> None:
    groups = [group(24, 128_000_000), group(9, 10**9, "tables/datasets/d/"), group(10**4, 1000, "trash/")]
    s3 = json.loads(lifecycle_rules(plan_tiering(groups, "aws"), root="ml/eta"))
    (rule,) = s3["Rules"]
    assert rule["Filter"]["And"]["Prefix"] == "ml/eta/blobs/"
    assert rule["Transitions"] == [{"Days": 30, "StorageClass": "STANDARD_IA"}]
    gcs = json.loads(lifecycle_rules(plan_tiering(groups, "gcp")))
    assert gcs["rule"][0]["action"] == {"type": "SetStorageClass", "storageClass": "COLDLINE"}
    azure = json.loads(lifecycle_rules(plan_tiering(groups, "azure")))
    assert azure["rules"][0]["definition"]["actions"] == {
        "baseBlob": {"tierToCool": {"daysAfterModificationGreaterThan": 30}}
    }


def test_what_the_newest_version_has_is_hot(stores: Stores, clock: ManualClock) -> None:
    lake = Lake(stores)
    data = Dataset("d", push())
    for number in range(3):
        lake.push(data, [{"n": number}])
    stores.tables.compact("datasets/d")
    clock.advance(400 * 86400)  # beyond the files' own times
    found = {one.prefix: one for one in stored_groups(stores)}
    assert (found["tables/datasets/d/"].objects > 4, len(found["tables/datasets/d/"].cold)) == (True, 3)
