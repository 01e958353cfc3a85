from datetime import date

import pytest

from loopwright.core.errors import DeclarationError
from loopwright.planning.assumption import Ledger
from loopwright.planning.prices.table import PriceTable
from loopwright.planning.training import evaluation_of, training_options
from loopwright.planning.training_needs import TrainingNeeds, Work, work_of

PRICES = PriceTable.load(today=date(2026, 8, 1))
AWS = PRICES.instances(["aws"], ["us-east-1"])


def work(**more: object) -> Work:
    needs = TrainingNeeds({"A10G": 10.0, "T4": 20.0}, checkpoint_s=60, restart_s=300, between_failures_h=20, **more)  # type: ignore[arg-type]
    return work_of(needs, 1.0, Ledger())


def test_spot_with_checkpoints_wins_and_takes_a_little_longer() -> None:
    options = training_options(work(), AWS, "aws", "us-east-1")
    best = options[0]
    assert best.purchase == "spot"
    assert 10.3 < float(best.settings["wall_hours_per_run"]) < 10.7
    assert 2000 < float(best.settings["checkpoint_every_s"]) < 3000  # Daly: about 48 min at 20 h
    g5 = {one.purchase: one for one in options if one.instance_type == "g5.xlarge"}
    assert g5["on_demand"].usd_per_month == pytest.approx(10.06)
    assert g5["spot"].usd_per_month == pytest.approx(0.436 * float(g5["spot"].settings["wall_hours_per_run"]))
    assert g5["commit_1y"].usd_per_month > 30 * g5["on_demand"].usd_per_month


def test_spot_without_checkpoints_is_refused_where_it_eats_the_discount() -> None:
    needs = TrainingNeeds({"A10G": 10.0}, between_failures_h=3, restart_s=300, has_checkpoints=False)
    options = training_options(work_of(needs, 1.0, Ledger()), AWS, "aws", "us-east-1")
    bare = [one for one in options if one.purchase == "spot" and one.instance_type == "g5.xlarge"]
    assert bare[0].reasons[0].limit == "spot_without_checkpoints"
    assert "10.0 h of work take" in bare[0].reasons[0].text
    assert options[0].purchase == "on_demand"


def test_a_window_takes_more_machines() -> None:
    options = training_options(work(window_h=4), AWS, "aws", "us-east-1")
    assert options[0].is_feasible
    assert all(float(one.settings["wall_hours_per_run"]) <= 4 for one in options if one.is_feasible)
    g5 = next(one for one in options if one.instance_type == "g5.xlarge" and one.purchase == "on_demand")
    assert g5.count == 3
    refused = training_options(work(window_h=0.1), AWS, "aws", "us-east-1")
    assert {reason.limit for one in refused for reason in one.reasons} == {"training_window"}


def test_an_accelerator_of_the_same_class_is_marked() -> None:
    options = training_options(work(), PRICES.instances(["gcp"], ["us-central1"]), "gcp", "us-central1")
    l4 = next(one for one in options if one.settings["accelerator"] == "L4")
    assert l4.is_extrapolated
    with pytest.raises(DeclarationError, match="has one of Q1"):
        training_options(work_of(TrainingNeeds({"Q1": 1.0}), 1.0, Ledger()), AWS, "aws", "us-east-1")


def test_a_machine_of_ones_own_and_evaluation() -> None:
    needs = TrainingNeeds({"A10G": 10.0}, local_hours=30, local_usd_per_hour=0.1)
    own = training_options(work_of(needs, 2.0, Ledger()), AWS, "aws", "us-east-1")[0]
    assert own.packaging == "local"
    assert own.usd_per_month == pytest.approx(6.0)
    evaluated = evaluation_of(own, work_of(needs, 2.0, Ledger()))
    assert evaluated is not None
    assert evaluated.usd_per_month == pytest.approx(0.3)
