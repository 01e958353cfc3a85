"""The e-detector: batches do not matter, forms agree, states merge and survive JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.statistics.edetector import EDetector, first_alarms

binary = st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=120)
losses = st.lists(st.floats(0, 1), min_size=1, max_size=120)


def by_the_definition(detector: EDetector, values: list[float]) -> tuple[list[int], list[float]]:
    sums = np.zeros(len(detector.bets))
    alarms = []
    for row, loss in enumerate(values):
        sums = (sums + 1) * (1 + np.asarray(detector.bets) * (loss - detector.reference_rate))
        if sums.mean() >= detector.average_run_length:
            alarms.append(row)
            sums = np.zeros(len(sums))
    return alarms, sums.tolist()


@given(losses, st.floats(0.01, 0.6), st.integers(0, 120))
def test_update_is_the_recursion_however_the_rows_are_cut(values: list[float], rate: float, cut: int) -> None:
    detector = EDetector(rate, average_run_length=50, form="betting")
    alarms, sums = by_the_definition(detector, values)
    whole = detector.update(values)
    assert list(whole.alarms) == alarms
    assert np.allclose(np.exp(whole.detector.log_sums), sums)
    first = detector.update(values[:cut])
    second = first.detector.update(values[cut:])
    assert [*first.alarms, *(cut + row for row in second.alarms)] == alarms
    assert np.allclose(np.exp(second.detector.log_sums), np.exp(whole.detector.log_sums))
    assert second.detector.rows == whole.detector.rows


@given(binary, st.floats(0.01, 0.3))
def test_bernoulli_form_is_the_likelihood_ratio(values: list[float], rate: float) -> None:
    detector = EDetector(rate, average_run_length=1e9)
    q = np.array([1.1, 1.25, 1.5, 2.0, 3.0]) * rate
    sums = np.zeros(5)
    for x in values:
        sums = (sums + 1) * (q / rate) ** x * ((1 - q) / (1 - rate)) ** (1 - x)
    assert np.allclose(np.exp(detector.update(values).detector.log_sums), sums)


@given(losses, losses)
def test_merge_adds_the_sums(left: list[float], right: list[float]) -> None:
    detector = EDetector(0.3, average_run_length=1e12, form="betting")
    a, b = detector.update(left).detector, detector.update(right).detector
    assert a.merge(b).evidence == pytest.approx(a.evidence + b.evidence)
    assert a.merge(b).rows == len(left) + len(right)


@given(losses)
def test_state_survives_json_bit_for_bit(values: list[float]) -> None:
    detector = EDetector(0.3, average_run_length=100, form="betting").update(values).detector
    assert EDetector.from_json(json.loads(json.dumps(detector.to_json()))) == detector


@given(st.lists(binary, min_size=1, max_size=5).filter(lambda rows: len({len(r) for r in rows}) == 1))
def test_many_streams_at_once_agree_with_one_by_one(streams: list[list[float]]) -> None:
    detector = EDetector(0.1, average_run_length=30)
    expected = [(detector.update(stream).alarms or (-1,))[0] for stream in streams]
    assert first_alarms(detector, streams).tolist() == expected


def test_long_streams_neither_overflow_nor_drift() -> None:
    quiet = EDetector(0.2, average_run_length=1e6).update(np.zeros(100_000))
    assert quiet.alarms == ()
    assert np.isfinite(quiet.detector.evidence)
    assert quiet.detector.rows == 100_000
    assert quiet.detector.reset() == EDetector(0.2, average_run_length=1e6)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="reference_rate"):
        EDetector(0.0)
    with pytest.raises(ValueError, match="average_run_length"):
        EDetector(0.1, average_run_length=1)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        EDetector(0.1, form="betting").update([1.5])
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        EDetector(0.1, form="betting").update([float("nan")])
    with pytest.raises(ValueError, match="0 and 1"):
        EDetector(0.1).update([0.5])
    with pytest.raises(ValueError, match="merged"):
        EDetector(0.1).merge(EDetector(0.2))
    with pytest.raises(ValueError, match="no state"):
        EDetector.from_json({"form": "other", "log_sums": []})
