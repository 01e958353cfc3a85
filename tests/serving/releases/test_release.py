from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import RefusedError
from loopwright.serving.deploy import online
from loopwright.serving.releases.release import OPEN_STAGES, Release, ReleasePlan, after, opening, version_number

NOW = datetime(2026, 1, 1, tzinfo=UTC)
plans = st.builds(
    lambda shadow, canary: ReleasePlan.from_deployment(online(shadow=shadow, canary=sorted(canary))),
    st.sampled_from([None, "1h"]),
    st.sets(st.integers(1, 100), max_size=5),
)
moves = st.lists(st.sampled_from(["advance", "advance", "promote", "roll_back", "finish"]), max_size=12)


def release(plan: ReleasePlan) -> Release:
    return Release("r", "eta", "eta/1", "eta/2", plan, opening(plan), 0, 0, NOW, NOW)


@given(plans, moves)
def test_shares_only_rise_until_the_end_and_closed_is_closed(plan, taken):
    state = release(plan)
    for move in taken:
        before = state
        try:
            state = after(before, move, at=before.step_started_at + timedelta(seconds=1))
        except RefusedError:
            assert move == "finish" or not before.is_open or before.stage == "promoting"
            continue
        assert before.is_open, "a closed release moved"
        assert state.revision == before.revision + 1
        assert state.step_started_at > before.step_started_at
        if state.stage == "rolled_back":
            assert state.share == 0
            assert state.routing().champion == 1
        else:
            assert state.share >= before.share
        assert (state.closed_at is None) == (state.stage in OPEN_STAGES)


@given(plans)
def test_advancing_reaches_the_promotion_after_exactly_the_declared_steps(plan):
    state, judged = release(plan), 0
    while state.stage != "promoting":
        state = after(state, "advance", at=NOW)
        judged += 1
    assert judged == plan.steps
    assert state.routing().champion == 2
    assert after(state, "finish", at=NOW).stage == "promoted"


def test_a_full_walk_as_declared():
    state = release(ReleasePlan.from_deployment(online(shadow="1h", canary=[5, 25, 100])))
    seen = [(state.stage, state.share)]
    for _ in range(3):
        state = after(state, "advance", at=NOW)
        seen.append((state.stage, state.share))
    assert seen == [("shadow", 0.0), ("canary", 0.05), ("canary", 0.25), ("promoting", 1.0)]


@given(plans)
def test_a_rolled_back_release_stays_so(plan):
    state = after(release(plan), "roll_back", at=NOW, reason="slow")
    assert (state.stage, state.reason) == ("rolled_back", "slow")
    for move in ("advance", "promote", "finish", "roll_back"):
        with pytest.raises(RefusedError, match="stays closed"):
            after(state, move, at=NOW)


def test_each_step_has_traffic_of_its_own_name():
    state = release(ReleasePlan.from_deployment(online(canary=[5, 25])))
    assert state.experiment == "r/canary-0"
    assert after(state, "advance", at=NOW).experiment == "r/canary-1"


def test_version_ids_may_hold_slashes_in_the_name():
    assert version_number("team/eta/12") == 12
