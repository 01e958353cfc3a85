from __future__ import annotations

from datetime import timedelta

import pytest

from loopwright.core.errors import DeclarationError
from loopwright.serving.deploy import online


def test_durations_are_text_and_100_percent_is_no_step():
    declared = online(shadow="1h", canary=[5, 25, 100], step_time="90s")
    assert declared.shadow == timedelta(hours=1)
    assert declared.step_time == timedelta(seconds=90)
    assert declared.canary_shares == (0.05, 0.25)


@pytest.mark.parametrize(
    "wrong",
    [
        {"canary": [25, 5]},
        {"canary": [0, 50]},
        {"canary": [50, 101]},
        {"canary": [5, 5]},
        {"min_requests_per_step": 0},
        {"alpha": 0.0},
        {"max_error_ratio": 0.5},
        {"log_payloads": "some"},
        {"max_in_flight": 0},
        {"step_time": "soon"},
    ],
)
def test_impossible_values_are_refused_with_the_value(wrong):
    with pytest.raises(DeclarationError):
        online(**wrong)
