from datetime import date

import pytest

from loopwright.planning.fitting import fit
from loopwright.planning.prices.table import PriceTable
from loopwright.planning.service import ServiceModel, measured

FP32 = ServiceModel("fp32", "4 vCPUs", "cpu", 4, 0.05, 0.05, "assumed", memory_bytes=10**9)
T4 = ServiceModel("t4", "T4", "gpu", 4, 0.0069, 0.0, "assumed", accelerator="T4")
PRICES = PriceTable.load(today=date(2026, 8, 1))


def machine(name: str, provider: str = "aws", region: str = "us-east-1"):
    return PRICES.instance(provider, region, name)


def test_workers_come_from_physical_cores() -> None:
    found = fit(FP32, machine("c6i.2xlarge"), {})
    assert found is not None
    assert (found.workers, found.scale, found.is_cut) == (2, 1.0, False)
    arm = fit(FP32, machine("c7g.xlarge"), {"arm": (1.1, 0.2)})
    assert arm is not None
    assert (arm.workers, arm.scale, arm.service.is_extrapolated) == (2, 1.1, True)  # a vCPU of Arm is a core


def test_the_small_burstable_machine_answers_ten_images_a_second() -> None:
    found = fit(FP32, machine("t3.medium"), {})
    assert found is not None
    assert found.full_speed_rps == pytest.approx(10)
    assert (found.baseline, found.is_cut, found.service.is_extrapolated) == (0.2, True, True)


def test_what_was_not_measured_is_not_guessed_at() -> None:
    assert fit(FP32, machine("c7g.xlarge"), {}) is None
    assert fit(T4, machine("g5.xlarge"), {}) is None
    assert fit(FP32, machine("g4dn.xlarge"), {}) is None
    assert fit(T4, machine("g4dn.xlarge"), {}) is not None
    assert fit(T4, machine("g5.xlarge"), {"A10G": (0.6, 0.3)}) is not None


def test_a_measured_model_is_extrapolated_to_a_machine_it_was_not_measured_on() -> None:
    service = measured("native", "this machine", (0.01, 0.02) * 20, vcpus=2)
    found = fit(service, machine("c6i.large"), {})
    assert found is not None
    assert found.service.is_extrapolated
    assert found.scale == 1.0


def test_memory_limits_the_workers_or_refuses_the_machine() -> None:
    large = ServiceModel("llm", "4 vCPUs", "cpu", 4, 0.05, 0.05, "assumed", memory_bytes=5 * 2**30)
    found = fit(large, machine("c6i.2xlarge"), {})
    assert found is not None
    assert (found.workers, found.reason) == (2, None)
    found = fit(large, machine("c6i.xlarge"), {})
    assert found is not None
    assert found.workers == 1
    huge = ServiceModel("huge", "4 vCPUs", "cpu", 4, 0.05, 0.05, "assumed", memory_bytes=7 * 2**30)
    found = fit(huge, machine("c6i.xlarge"), {})
    assert found is not None
    assert found.reason is not None
    assert found.reason.limit == "memory"
