from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from loopwright.core.errors import AliasConflictError
from loopwright.registry.alias import Aliases, Override
from loopwright.registry.version import model_versions
from loopwright.serving.deploy import online
from loopwright.serving.log.prediction_log import PredictionLog
from loopwright.serving.log.prediction_record import PredictionRecord
from loopwright.serving.releases.release import ReleasePlan
from loopwright.serving.releases.release_store import ReleaseStore
from loopwright.serving.releases.rollout import Rollout, promote_alias

PLAN = ReleasePlan.from_deployment(
    online(shadow="10s", canary=[20, 50, 100], min_requests_per_step=200, step_time="10s", alpha=0.01)
)
HUMAN = Override("anna", "a test")


@pytest.fixture
def registry(stores, clock) -> Aliases:
    with stores.facts.write() as connection:
        for version in (1, 2, 3):
            row = {"model": "m", "version": version, "run_id": f"r{version}", "created_at": clock.now(), "record": {}}
            connection.execute(model_versions.insert().values(row))
    aliases = Aliases(stores)
    aliases.move("m", "champion", 1, expected=None, by="anna", override=HUMAN)
    return aliases


@pytest.fixture
def rollout(stores, registry) -> Rollout:
    return Rollout(stores, promote=lambda release: promote_alias(stores, release, override=HUMAN))


@pytest.fixture
def release(stores, rollout):
    return ReleaseStore(stores).open("m", champion="m/1", challenger="m/2", plan=PLAN)


@pytest.fixture
def serve(stores):
    """Answer requests as a server would in the release's present state, and log them."""
    log = PredictionLog(stores.local, "m", clock=stores.clock, ids=stores.ids)

    def answer(release, requests: int, *, failing: float = 0.0, slower_us: int = 0) -> None:
        routing = release.routing()
        for number in range(requests):
            prediction = stores.ids.new()
            taken = routing.assign(prediction)
            arms = [(taken.route, taken.arm == "challenger")] + ([("shadow", True)] if taken.mirrored else [])
            for route, is_challenger in arms:
                fails = is_challenger and number < failing * requests
                log.accept(1)
                log.write(
                    [
                        PredictionRecord(
                            prediction,
                            prediction,
                            int(stores.clock.now().timestamp() * 1e6),
                            "m",
                            2 if is_challenger else 1,
                            route,
                            release.experiment,
                            taken.propensity,
                            taken.unit_hash,
                            None,
                            "",
                            float(number + (is_challenger and number % 10 == 0)),
                            None,
                            None,
                            1000 + (slower_us if is_challenger else 0),
                            1,
                            500 if fails else 200,
                            "ModelFailedError" if fails else None,
                        )
                    ]
                )

    yield answer
    log.close()


def test_a_good_challenger_walks_all_the_way(stores, clock, registry, rollout, release, serve):
    stages = []
    while release.is_open:
        serve(release, 1500)
        clock.advance(11)
        release = rollout.tick("m")
        stages.append((release.stage, release.share))
    assert stages == [("canary", 0.2), ("canary", 0.5), ("promoted", 1.0)]
    assert registry.current("m") == 2
    assert rollout.tick("m") is None
    assert registry.history("m")[-1].moved_by == "anna"


def test_it_holds_without_traffic_or_time(clock, rollout, release, serve):
    clock.advance(3600)
    assert rollout.tick("m") == release
    serve(release, 100)
    assert rollout.tick("m") == release
    _, judgement = rollout.look(release)
    assert judgement.reasons == ("100 of 200 requests seen.",)


def test_the_shadow_is_compared_pair_by_pair(rollout, release, serve):
    serve(release, 300)
    evidence, judgement = rollout.look(release)
    assert (evidence.pairs, evidence.disagreements) == (300, 30)
    assert judgement.disagreement == 0.1
    assert evidence.champion.requests == evidence.challenger.requests == 300


def test_a_failing_challenger_is_rolled_back(stores, clock, registry, rollout, release, serve):
    serve(release, 500)
    clock.advance(11)
    release = rollout.tick("m")
    serve(release, 1000, failing=0.9)
    release = rollout.tick("m")
    assert release.stage == "rolled_back"
    assert "Errors rose" in release.reason
    assert registry.current("m") == 1
    evidence = ReleaseStore(stores).steps(release.id)[-1]["evidence"]
    assert evidence["challenger"]["errors"] > 100


def test_a_slow_challenger_is_rolled_back(clock, rollout, release, serve):
    serve(release, 500)
    clock.advance(11)
    release = rollout.tick("m")
    serve(release, 10_000, slower_us=50_000)
    assert "Latency rose" in rollout.tick("m").reason


def test_a_split_that_went_wrong_ends_the_release(stores, clock, rollout, release, serve):
    serve(release, 500)
    clock.advance(11)
    release = rollout.tick("m")
    wrong = replace(release, plan=replace(PLAN, canary_shares=(0.6, 0.7)))
    serve(wrong, 1000)
    assert "split is not the one assigned" in rollout.tick("m").reason


def test_only_the_present_step_counts(clock, rollout, release, serve):
    serve(release, 1500)
    clock.advance(11)
    release = rollout.tick("m")
    evidence, _ = rollout.look(release)
    assert evidence.champion.requests == evidence.challenger.requests == 0


def test_by_hand(registry, rollout, release):
    assert rollout.promote_now("m", reason="sure").stage == "promoted"
    assert registry.current("m") == 2
    assert rollout.roll_back("m", reason="late") is None
    assert rollout.promote_now("m", reason="late") is None


def test_rolling_back_by_hand(registry, rollout, release):
    assert rollout.roll_back("m", reason="not today").reason == "not today"
    assert registry.current("m") == 1


def test_a_champion_moved_by_somebody_else_ends_the_release(registry, rollout, release):
    registry.move("m", "champion", 3, expected=1, by="anna", override=HUMAN)
    ended = rollout.promote_now("m", reason="sure")
    assert ended.stage == "rolled_back"
    assert "points to version 3" in ended.reason
    assert registry.current("m") == 3


def test_without_a_verdict_nothing_is_promoted(stores, registry, release):
    ended = Rollout(stores).promote_now("m", reason="sure")
    assert (ended.stage, "verdict" in ended.reason) == ("rolled_back", True)
    assert registry.current("m") == 1


_KILLED = """
import os, signal, sys
from pathlib import Path
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.registry.alias import Override
from loopwright.serving.releases.rollout import Rollout, promote_alias
stores = open_stores(Settings.load(Path(sys.argv[1]), environ={}))
def promote(release):
    if sys.argv[2] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    promote_alias(stores, release, override=Override("anna", "a test"))
    os.kill(os.getpid(), signal.SIGKILL)
Rollout(stores, promote=promote).promote_now("m", reason="sure")
"""


@pytest.mark.parametrize("stage", ["before", "after"])
def test_a_promotion_killed_half_way_is_finished_by_the_next(stores, registry, rollout, release, tmp_path, stage):
    child = subprocess.run([sys.executable, "-W", "ignore", "-c", _KILLED, str(tmp_path), stage], check=False)
    assert child.returncode == -signal.SIGKILL
    left = ReleaseStore(stores).current("m")
    assert left.stage == "promoting"
    assert left.routing().champion == 2, "traffic is the challenger's already"
    assert registry.current("m") == (1 if stage == "before" else 2)
    assert rollout.tick("m").stage == "promoted"
    assert registry.current("m") == 2
    assert len(registry.history("m")) == 2


_KILLED_AT_THE_END = """
import os, signal, sys
from pathlib import Path
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.registry.alias import Aliases, Override
from loopwright.serving.releases.rollout import Rollout, promote_alias
stores = open_stores(Settings.load(Path(sys.argv[1]), environ={}))
drop = Aliases.drop_challenger
def drop_and_die(*args, **kwargs):
    drop(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
Aliases.drop_challenger = drop_and_die
rollout = Rollout(stores, promote=lambda release: promote_alias(stores, release, override=Override("anna", "a test")))
getattr(rollout, sys.argv[2])("m", reason="sure")
"""


@pytest.mark.parametrize("end", ["promote_now", "roll_back"])
def test_the_alias_of_the_challenger_goes_with_its_release(stores, registry, rollout, release, tmp_path, end):
    """Killed at the last write, both are still there; ended by the next, both are gone, and the trail says by whom."""
    registry.move("m", "challenger", 2, expected=None, by=f"release {release.id}")
    child = subprocess.run([sys.executable, "-W", "ignore", "-c", _KILLED_AT_THE_END, str(tmp_path), end], check=False)
    assert child.returncode == -signal.SIGKILL
    assert registry.current("m", "challenger") == 2
    assert ReleaseStore(stores).current("m") is not None
    assert not getattr(rollout, end)("m", reason="sure").is_open
    assert registry.of_model("m") == {"champion": 2 if end == "promote_now" else 1}
    last = registry.history("m", "challenger")[-1]
    assert (last.from_version, last.to_version, last.moved_by) == (2, None, f"release {release.id}")


def test_a_challenger_that_somebody_named_otherwise_stays(registry, rollout, release):
    registry.move("m", "challenger", 3, expected=None, by="anna")
    assert rollout.roll_back("m", reason="not today").stage == "rolled_back"
    assert registry.current("m", "challenger") == 3


def test_a_step_of_a_release_keeps_the_challenger(clock, registry, rollout, release, serve):
    registry.move("m", "challenger", 2, expected=None, by="turn")
    serve(release, 500)
    clock.advance(11)
    assert rollout.tick("m").stage == "canary"
    assert registry.current("m", "challenger") == 2


def test_promoting_twice_changes_nothing(stores, registry, release):
    promote_alias(stores, release, override=HUMAN)
    promote_alias(stores, release, override=HUMAN)
    assert len(registry.history("m")) == 2
    registry.move("m", "champion", 3, expected=2, by="anna", override=HUMAN)
    with pytest.raises(AliasConflictError):
        promote_alias(stores, release, override=HUMAN)
