from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from loopwright.planning.prices.diff import diff_prices, named_prices
from loopwright.planning.prices.merge import merge_prices
from loopwright.planning.prices.table import PriceTable

TODAY = date(2026, 11, 23)
PRICES = PriceTable.load(today=TODAY)


def test_nothing_changed() -> None:
    found = diff_prices(PRICES, PRICES)
    assert found.is_empty
    assert found.same == len(named_prices(PRICES))


def test_what_rose_fell_and_came(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(
        "provider,region,type,vcpus,memory_gib,architecture,on_demand_usd_per_hour,source,as_of\n"
        "aws,us-east-1,c5.xlarge,4,8,x86,0.187,list,2026-11-01\n"
        "aws,us-east-1,c5.large,2,4,x86,0.068,list,2026-11-01\n"
        "aws,us-east-1,c9.large,2,4,x86,0.09,list,2026-11-01\n"
    )
    after = merge_prices(PRICES, path, take="theirs").table
    found = diff_prices(PRICES, after)
    on_demand = {one.name: one.share for one in (*found.rose, *found.fell) if one.name.endswith("on demand")}
    assert on_demand == {
        "aws us-east-1 c5.xlarge on demand": pytest.approx(0.10),
        "aws us-east-1 c5.large on demand": pytest.approx(-0.20),
    }
    assert "aws us-east-1 c9.large on demand" in found.came
    back = diff_prices(after, PRICES)
    assert back.went == found.came
    assert [one.name for one in back.fell] == [one.name for one in found.rose]
    assert diff_prices(PRICES, after, least_share=0.5).rose == ()
