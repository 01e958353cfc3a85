from __future__ import annotations

import pytest

from loopwright.core.errors import FailedError
from loopwright.serving.calls.shadow import ShadowRunner, ShadowTask
from loopwright.serving.models.loading import prepare, self_test
from loopwright.serving.models.model_source import Target
from loopwright.serving.models.promotion import RETRY_S
from loopwright.serving.models.swap import ModelWatch
from loopwright.serving.releases.router import Routing


class Source:
    def __init__(self, nonce) -> None:
        self.nonce = nonce
        self.counter = 0
        self.now: Target | None = None
        self.broken: set[str] = set()
        self.loads: list[str] = []
        self.refused: list[str] = []

    def point(self, target: Target | None) -> None:
        self.now, self.counter = target, self.counter + 1

    def change_counter(self) -> int:
        return self.counter

    def target(self, model):  # noqa: ARG002
        return self.now

    def load(self, version_id):
        self.loads.append(version_id)
        if version_id in self.broken:
            raise OSError("no such file")
        return self.nonce.NonceModel(int(version_id.rpartition("/")[2]))

    def size_bytes(self, version_id: str) -> int | None:  # noqa: ARG002
        return None

    def refuse(self, model, version_id, reason):  # noqa: ARG002
        self.refused.append(version_id)


@pytest.fixture
def source(nonce) -> Source:
    return Source(nonce)


@pytest.fixture
def parts(make_endpoint):
    return make_endpoint()


@pytest.fixture
def watch(source, parts, clock) -> ModelWatch:
    return ModelWatch(source, {"nonce": parts.endpoint}, online=None, metrics=parts.metrics, clock=clock)


def test_nothing_is_looked_at_while_the_counter_stands(source, parts, watch):
    source.point(Target(Routing(1), "nonce/1"))
    assert watch.check()
    source.now = Target(Routing(2), "nonce/2")
    assert not watch.check()
    source.counter += 1
    assert watch.check()
    assert parts.endpoint.active.routing.champion == 2


def test_a_promotion_needs_no_second_load_and_a_rollback_neither(source, parts, watch):
    source.point(Target(Routing(1), "nonce/1"))
    watch.check()
    source.point(Target(Routing(1, 2, "canary", 0.2, "s"), "nonce/1", "nonce/2"))
    watch.check()
    assert parts.endpoint.active.challenger.predictor.version == 2
    source.point(Target(Routing(2), "nonce/2"))
    watch.check()
    source.point(Target(Routing(1), "nonce/1"))
    watch.check()
    assert source.loads == ["nonce/1", "nonce/2"]
    assert parts.endpoint.active.champion.predictor.version == 1


def test_old_versions_are_let_go(source, watch):
    for version in range(1, 7):
        source.point(Target(Routing(version), f"nonce/{version}"))
        watch.check()
    source.point(Target(Routing(1), "nonce/1"))
    watch.check()
    assert source.loads.count("nonce/1") == 2


def test_a_challenger_that_does_not_load_gets_no_traffic(source, parts, watch):
    source.broken.add("nonce/2")
    source.point(Target(Routing(1, 2, "canary", 0.5, "s", "e"), "nonce/1", "nonce/2"))
    assert watch.check()
    assert parts.endpoint.active.routing == Routing(1)
    assert source.refused == ["nonce/2"]


def test_a_champion_that_does_not_load_leaves_the_old_one_and_is_tried_again(source, parts, watch, clock):
    source.point(Target(Routing(1), "nonce/1"))
    watch.check()
    source.broken.add("nonce/2")
    source.point(Target(Routing(2), "nonce/2"))
    assert not watch.check()
    assert parts.endpoint.active.champion.predictor.version == 1
    assert "OSError" in watch.problems["nonce"]
    source.broken.clear()
    assert not watch.check()
    clock.advance(RETRY_S)
    assert watch.check()
    assert parts.endpoint.active.champion.predictor.version == 2
    assert watch.problems == {}


def test_a_model_without_a_champion_waits(source, parts, watch):
    assert not watch.check()
    assert parts.endpoint.active is None


def test_the_self_test_compares_with_what_was_recorded(nonce, clock):
    good = nonce.NonceModel(1)
    self_test(good, good.golden())
    with pytest.raises(FailedError, match=r"largest difference of a value is 0\.5"):
        prepare(nonce.NonceModel(1, broken=True), online=None, clock=clock)
    image = nonce.ImageModel()
    self_test(image, image.golden())
    flipped = image.golden()
    flipped.outputs.values[:] = flipped.outputs.values[::-1].copy()
    with pytest.raises(FailedError, match="2 labels differ"):
        self_test(image, flipped)


def test_slow_versions_go_to_the_executor(nonce, clock):
    model = nonce.NonceModel(1)
    assert prepare(model, online=None, clock=clock).inline_rows > 1
    predict = model.predict
    model.predict = lambda rows: clock.advance(0.002) or predict(rows)
    assert prepare(model, online=None, clock=clock).inline_rows == 0
    slot = prepare(nonce.NonceModel(1), online=None, clock=clock)
    for _ in range(15):
        slot.note(0.1)
    assert slot.inline_rows > 0
    slot.note(0.1)
    assert slot.inline_rows == 0


def test_the_shadow_runs_in_order_and_finishes_what_waits():
    done, dropped = [], []
    shadow = ShadowRunner(capacity=100, on_drop=lambda: dropped.append(1))
    for number in range(20):
        assert shadow.offer(ShadowTask(lambda number=number: done.append(number), 1))
    shadow.close()
    assert done == list(range(20))
    assert not shadow.offer(ShadowTask(lambda: None, 1)), "closed"
    assert dropped == []
