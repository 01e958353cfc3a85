"""Many models in one process: what is not required waits for its first request, and gives way."""

from __future__ import annotations

import pytest

from loopwright.core.errors import FailedError
from loopwright.serving.models.model_source import Target
from loopwright.serving.models.residency import Residency, available_memory, check_memory, resident_memory
from loopwright.serving.models.served_models import ServedModels, VersionRefusedError
from loopwright.serving.releases.router import Routing

MB = 1_000_000
NAMES = ("must", "a", "b", "c")


class Source:
    def __init__(self, nonce) -> None:
        self.nonce = nonce
        self.sizes: dict[str, int] = {}
        self.broken: set[str] = set()
        self.loads: list[str] = []

    def load(self, version_id):
        self.loads.append(version_id)
        number = int(version_id.rpartition("/")[2])
        model = self.nonce.NonceModel(number, broken=version_id in self.broken)
        model.version = self.nonce.Version(version_id)
        return model

    def size_bytes(self, version_id):
        return self.sizes.get(version_id, 4 * MB)


@pytest.fixture
def source(nonce) -> Source:
    return Source(nonce)


@pytest.fixture
def parts(make_endpoint):
    return {name: make_endpoint().endpoint for name in NAMES}


@pytest.fixture
def models(source, parts, clock, make_endpoint) -> ServedModels:
    residency = Residency(10 * MB, frozenset({"must"}))
    metrics = make_endpoint().metrics
    return ServedModels(source, parts, online=None, metrics=metrics, clock=clock, residency=residency, memory=lambda: 0)


def promote(models: ServedModels, model: str, version: int, *, turn: int = 1) -> None:
    models.prepare(turn, model, Target(Routing(version), f"{model}/{version}"))
    models.commit(turn)


def ask(models: ServedModels, model: str, clock) -> None:
    clock.advance(1)
    models.residency.used(model, clock.monotonic())
    if models.is_unloaded(model):
        models.load(model)


def loaded(parts) -> set[str]:
    return {name for name, endpoint in parts.items() if endpoint.active is not None}


def test_what_finds_no_room_at_the_start_is_loaded_at_its_first_request(models, source, parts, clock):
    for name in NAMES:
        promote(models, name, 1)
    assert loaded(parts) == {"must", "a"}
    assert models.is_unloaded("b")
    ask(models, "b", clock)
    assert loaded(parts) == {"must", "b"}, "a was asked the longest ago, and must stays"
    assert models.is_unloaded("a")
    ask(models, "c", clock)
    ask(models, "a", clock)
    assert loaded(parts) == {"must", "a"}
    assert source.loads == [f"{name}/1" for name in ("must", "a", "b", "c", "a")]
    assert models.residency.used_bytes == 8 * MB


def test_a_promotion_of_an_unloaded_model_is_tested_all_the_same(models, source, parts):
    for name in NAMES:
        promote(models, name, 1)
    source.broken = {"c/2"}
    with pytest.raises(VersionRefusedError, match="self-test"):
        models.prepare(2, "c", Target(Routing(2), "c/2"))
    promote(models, "c", 3, turn=3)
    assert parts["c"].active.routing.champion == 3


def test_versions_kept_for_a_rollback_go_first(models, source, parts, clock):
    source.sizes = dict.fromkeys(("a/1", "a/2", "b/1"), 3 * MB)
    promote(models, "a", 1)
    promote(models, "a", 2)
    promote(models, "b", 1)
    assert loaded(parts) == {"a", "b"}
    promote(models, "must", 1)
    assert loaded(parts) == {"a", "b", "must"}, "only the first version of a went"
    promote(models, "a", 1)
    assert source.loads.count("a/1") == 2


def test_a_required_model_is_loaded_whatever_the_budget(models, source, parts):
    source.sizes = {"must/1": 50 * MB}
    promote(models, "must", 1)
    assert loaded(parts) == {"must"}
    promote(models, "a", 1)
    with pytest.raises(VersionRefusedError, match=r"leave no room for it: 50 MB of 10 MB"):
        models.load("a")


def test_what_the_machine_has_no_memory_for_is_refused():
    check_memory("m/1", None, 10)
    check_memory("m/1", 10, None)
    check_memory("m/1", 10 * MB, 15 * MB)
    with pytest.raises(FailedError, match=r"m/1 takes 10 MB and 1\.5 times as much to load; 14 MB are available"):
        check_memory("m/1", 10 * MB, 14 * MB)
    assert available_memory() is None or available_memory() > 0
    assert resident_memory() > MB


def test_a_server_brings_a_model_up_when_it_is_asked(start_server, set_target):
    """And says when to come again, where that takes longer than a request waits."""
    sizes = {"bright/1": 10 * MB, "nonce/1": 10 * MB}
    set_target(champion=1, sizes=sizes)
    server = start_server(models=["bright"], optional=["nonce"], memory_bytes=5 * MB)
    assert server.client.get("/v2/models/nonce/ready").status_code == 503
    answer = server.predict(1)
    assert answer.status_code == 503
    assert "leave no room" in answer.json()["error"]
    server.stop()
    server = start_server(models=[], optional=["bright", "nonce"], memory_bytes=18 * MB)
    server.wait_for(lambda: server.predict(1).status_code == 200)  # ready is the server with its first model
    for _ in range(2):
        assert server.predict(1).json()["predictions"] == [1001.0]
        raw = server.client.post("/predict/bright", content=bytes(9), headers={"content-type": "image/png"})
        assert raw.json()["predictions"] == ["dark"]
    assert "loopwright_ready 1" in server.client.get("/metrics").text
    server.stop()
    server = start_server(models=["bright"], optional=["nonce"], memory_bytes=100 * MB, lazy_wait_s=0)
    server.wait_for(lambda: server.predict(1).status_code == 200)
