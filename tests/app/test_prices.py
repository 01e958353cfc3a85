"""``loopwright prices``: what it lists, what it refuses, and that an import changes nothing when it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import loopwright.planning.prices as shipped

if TYPE_CHECKING:
    from collections.abc import Callable

TABLES = Path(shipped.__file__).parent
HEADING = "provider,region,type,on_demand_usd_per_hour,source,as_of"


def test_machines_are_listed(bare: Callable[..., object]) -> None:
    said = bare("prices", "list", "--cloud", "aws", "--region", "us-east-1", "--type", "c6i.")
    assert said.code == 0
    assert "c6i.xlarge" in said.out
    listed = json.loads(bare("prices", "list", "--cloud", "aws", "--region", "us-east-1", "--json").out)
    assert {one["provider"] for one in listed} == {"aws"}
    assert all(one["on_demand"]["usd"] > 0 and one["on_demand"]["source"] for one in listed)


def test_services_are_listed(bare: Callable[..., object]) -> None:
    listed = json.loads(bare("prices", "list", "--services", "--cloud", "gcp", "--json").out)
    assert listed
    assert {one["provider"] for one in listed} == {"gcp"}
    assert "GB" in bare("prices", "list", "--services").out


def test_names_that_there_are_not(bare: Callable[..., object]) -> None:
    said = bare("prices", "list", "--cloud", "awss")
    assert said.code == 2
    assert "Did you mean 'aws'?" in said.error
    assert bare("prices", "list", "--services", "--cloud", "awss").code == 2
    assert bare("prices", "list", "--region", "us-east-9").code == 2
    assert bare("prices", "list", "--prices", "nowhere").code == 2


def test_the_shipped_table_can_be_used(bare: Callable[..., object]) -> None:
    assert bare("prices", "check").code == 0
    found = json.loads(bare("prices", "check", "--json").out)
    assert found["refused"] == []
    assert found["rows"] > 100


def test_a_broken_table_is_refused_with_the_row(bare: Callable[..., object], tmp_path: Path) -> None:
    lines = (TABLES / "instances.csv").read_text().splitlines()
    names = lines[0].split(",")
    row = lines[1].split(",")
    row[names.index("on_demand_usd_per_hour")] = "-1"
    (tmp_path / "instances.csv").write_text("\n".join([lines[0], ",".join(row)]))
    said = bare("prices", "check", str(tmp_path))
    assert said.code == 3
    assert "instances.csv, line 2, on_demand_usd_per_hour='-1'" in said.out
    said = bare("prices", "list", "--prices", str(tmp_path))
    assert said.code == 2
    assert "line 2" in said.error
    assert "Traceback" not in said.error


def test_rows_of_ones_own_come_in_and_show_in_the_difference(bare: Callable[..., object], tmp_path: Path) -> None:
    held = json.loads(
        bare("prices", "list", "--cloud", "aws", "--region", "us-east-1", "--type", "c6i.large", "--json").out
    )
    usd = held[0]["on_demand"]["usd"]
    own, folder = tmp_path / "own.csv", tmp_path / "prices"
    own.write_text(f"{HEADING}\naws,us-east-1,c6i.large,{usd * 1.05:.6f},our contract,2026-10-01\n")
    said = bare("prices", "import", str(own), "--prices", str(folder))
    assert (said.code, said.error) == (0, "")
    assert "0 new, 1 changed" in said.out
    found = json.loads(bare("prices", "diff", str(TABLES), str(folder), "--json").out)
    assert [round(one["after_usd"] / one["before_usd"], 3) for one in found["rose"] if "on demand" in one["name"]] == [
        1.05
    ]
    assert "+5.0 %" in bare("prices", "diff", str(TABLES), str(folder)).out
    assert "c6i.large" in bare("prices", "list", "--prices", str(folder), "--type", "c6i.large").out


def test_prices_far_apart_ask_which_holds(bare: Callable[..., object], tmp_path: Path) -> None:
    own, folder = tmp_path / "own.csv", tmp_path / "prices"
    own.write_text(f"{HEADING}\naws,us-east-1,c6i.large,9.5,our contract,2026-10-01\n")
    said = bare("prices", "import", str(own), "--prices", str(folder))
    assert said.code == 2
    assert "--take theirs" in said.error
    assert not folder.exists()
    assert bare("prices", "import", str(own), "--prices", str(folder), "--take", "mine").code == 2
    assert bare("prices", "import", str(own), "--prices", str(folder), "--take", "theirs", "--json").code == 0
    (machine,) = json.loads(
        bare(
            "prices",
            "list",
            "--prices",
            str(folder),
            "--type",
            "c6i.large",
            "--cloud",
            "aws",
            "--region",
            "us-east-1",
            "--json",
        ).out
    )
    assert machine["on_demand"] | {"spread": 0} == {
        "usd": 9.5,
        "unit": "hour",
        "source": "our contract",
        "as_of": "2026-10-01",
        "spread": 0,
    }
