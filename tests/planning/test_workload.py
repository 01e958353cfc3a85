from datetime import timedelta

import pytest

from loopwright.core.errors import DeclarationError
from loopwright.planning.workload import workload


def test_values_and_assumptions() -> None:
    made = workload(requests_per_day=864_000, latency_p99="150ms", payload="2MB", retention="90d")
    assert made.mean_rps == 10
    assert made.peak_rps == 30
    assert made.latency_p99 == timedelta(milliseconds=150)
    assert (made.payload_bytes, made.retention) == (2_000_000, timedelta(days=90))


@pytest.mark.parametrize(
    "wrong",
    [
        {"requests_per_day": 0},
        {"requests_per_day": 1e6, "peak_rps": 1},
        {"requests_per_day": 1e6, "retrain": "often"},
        {"requests_per_day": 1e6, "payload": "many"},
        {"requests_per_day": 1e6, "latency_p99": "soon"},
    ],
)
def test_what_contradicts_itself(wrong: dict[str, object]) -> None:
    with pytest.raises(DeclarationError):
        workload(**wrong)  # type: ignore[arg-type]
