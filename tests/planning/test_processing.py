from __future__ import annotations

import dataclasses
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.planning.prices.table import PriceTable
from loopwright.planning.processing import Batches, machines_needed, processing_stage

PRICES = PriceTable.load(today=date(2026, 11, 23))
MACHINES = PRICES.instances(["aws"], ["us-east-1"])
X86 = PRICES.instance("aws", "us-east-1", "c6i.xlarge")
ARM = PRICES.instance("aws", "us-east-1", "c7g.xlarge")
NIGHTLY = Batches(run_bytes=72e9, runs=30, mb_per_s_per_core=10)


def test_cores_times_hours() -> None:
    assert NIGHTLY.core_hours == pytest.approx(2.0)
    count, hours = machines_needed(NIGHTLY, X86)  # two cores, an hour less two minutes to start
    assert (count, hours) == (2, pytest.approx(120 / 3600 + 0.5))
    assert machines_needed(NIGHTLY, ARM) == (1, pytest.approx(120 / 3600 + 0.5))


def test_a_nightly_run_costs_its_hours() -> None:
    options = processing_stage(NIGHTLY, MACHINES)
    found = next(one for one in options if one.instance_type == "c6i.xlarge" and one.purchase == "on_demand")
    assert found.usd_per_month == pytest.approx(30 * 2 * (0.5 + 1 / 30) * 0.17)
    assert found.utilisation == pytest.approx(0.5 / (0.5 + 1 / 30))
    assert (found.count, found.packaging) == (2, "vm_group")
    feasible = [one.usd_per_month for one in options if one.is_feasible]
    assert feasible == sorted(feasible)
    assert not any(one.instance_type.startswith(("g4dn", "p4d")) for one in options)


def test_a_deadline_before_machines_start() -> None:
    options = processing_stage(dataclasses.replace(NIGHTLY, deadline_h=0.02), MACHINES)
    assert not any(one.is_feasible for one in options)
    assert "machines need 120 s to start" in options[0].reasons[0].text


def test_runs_that_overlap_do_not_fit() -> None:
    options = processing_stage(Batches(run_bytes=72e9, runs=2000, mb_per_s_per_core=10), [X86])
    assert "do not fit into the 730 h" in options[0].reasons[0].text


def test_too_little_memory() -> None:
    hungry = processing_stage(dataclasses.replace(NIGHTLY, memory_gib_per_core=8), [X86])
    assert [one.limit for one in hungry[0].reasons] == ["memory"]


def test_a_burstable_machine_that_is_started_for_a_run_works_at_its_baseline() -> None:
    burst = PRICES.instance("aws", "us-east-1", "t3.medium")
    (option, *_) = processing_stage(Batches(run_bytes=18e9, runs=30, mb_per_s_per_core=10, deadline_h=24), [burst])
    assert option.settings["hours_per_run"] == pytest.approx(120 / 3600 + 0.5 / (burst.cores * 0.2))


@pytest.mark.parametrize(
    "wrong", [{"mb_per_s_per_core": 0}, {"run_bytes": -1}, {"deadline_h": 0}, {"runs": float("nan")}]
)
def test_figures_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(DeclarationError):
        dataclasses.replace(NIGHTLY, **wrong)


@given(
    name=st.sampled_from(["run_bytes", "runs"]),
    first=st.floats(0, 1e13),
    second=st.floats(0, 1e13),
    machine=st.sampled_from([X86, ARM]),
)
def test_more_work_never_costs_less(name: str, first: float, second: float, machine: object) -> None:
    scale = 1.0 if name == "run_bytes" else 1e-10
    costs = [
        processing_stage(dataclasses.replace(NIGHTLY, **{name: value * scale}), [machine], purchases=["on_demand"])[0]
        for value in sorted((first, second))
    ]
    assert costs[0].usd_per_month <= costs[1].usd_per_month * (1 + 1e-9)
    assert all(line.quantity >= 0 for line in costs[0].lines)
