"""The questions of ``plan --ask``: each answer is judged at once, and what is written reads back the same."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.planning.questions import QUESTIONS, problem, tables_of, toml_of
from loopwright.planning.workload_file import request_of

DEFAULTS = {(one.section, one.key): one.default for one in QUESTIONS}


def test_the_defaults_are_a_workload() -> None:
    found = request_of(tomllib.loads(toml_of(tables_of(DEFAULTS))))
    assert found.workload.requests_per_day == 1e6
    assert found.workload.clouds == ("aws", "gcp", "azure")
    assert found.services[0].mean_s == 0.05
    assert dict(found.training.hours) == {"cpu": 1.0}
    assert found.workload.peak_rps == pytest.approx(3e6 / 86_400)
    assert all(problem(one, one.default, {}) is None for one in QUESTIONS)


@pytest.mark.parametrize(
    ("key", "answer", "said"),
    [
        ("per_day", "-1M", "must not be negative"),
        ("peak", "2/s", "lies below the mean"),
        ("latency_p99", "5 parsecs", "is not a duration"),
        ("clouds", "aws, asw", "no cloud 'asw'"),
        ("availability", "110", "no share of time"),
        ("cadence", "sometimes", "no cadence"),
        ("mean", "0ms", "more than 0"),
    ],
)
def test_a_wrong_answer_is_told_why(key: str, answer: str, said: str) -> None:
    (question,) = (one for one in QUESTIONS if one.key == key)
    before = {("requests", "per_day"): "1M/day"} if key == "peak" else {}
    assert said in (problem(question, answer, before) or "")


PLAIN = st.one_of(st.text(max_size=20), st.integers(-(10**9), 10**9), st.booleans(), st.lists(st.text(max_size=5)))
NAMES = st.text("abcdefgh_", min_size=1, max_size=6)


@given(st.dictionaries(NAMES, st.one_of(PLAIN, st.dictionaries(NAMES, PLAIN, max_size=4)), max_size=6))
def test_what_is_written_reads_back(tables: dict[str, object]) -> None:
    assert tomllib.loads(toml_of(tables)) == tables
