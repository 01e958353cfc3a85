from __future__ import annotations

import threading

import pytest

from loopwright.core.errors import RefusedError, UnknownNameError
from loopwright.core.ref import Ref
from loopwright.serving.deploy import online
from loopwright.serving.releases.release import ReleasePlan
from loopwright.serving.releases.release_store import ReleaseStore

PLAN = ReleasePlan.from_deployment(online(shadow="1h", canary=[5, 25]))


@pytest.fixture
def store(stores) -> ReleaseStore:
    return ReleaseStore(stores)


def opened(store: ReleaseStore):
    return store.open("eta", champion="eta/1", challenger="eta/2", plan=PLAN)


def test_a_release_comes_back_as_it_was_stored(store):
    release = opened(store)
    assert store.get(release.id) == store.current("eta") == release
    assert release.stage == "shadow"
    assert store.all("eta") == store.all() == [release]


def test_opening_the_same_again_is_the_same(store):
    assert opened(store) == opened(store)
    assert len(store.all()) == 1


def test_one_open_release_per_model(store):
    opened(store)
    with pytest.raises(RefusedError, match="eta/2 over eta/1"):
        store.open("eta", champion="eta/1", challenger="eta/3", plan=PLAN)
    store.open("other", champion="other/1", challenger="other/2", plan=PLAN)


def test_a_closed_release_makes_room(store, clock):
    release = opened(store)
    store.move(release, "roll_back", reasons=["errors rose"])
    assert store.current("eta") is None
    clock.advance(1)
    again = opened(store)
    assert again.id != release.id
    assert [each.id for each in store.all("eta")] == [again.id, release.id]


def test_only_one_of_two_controllers_moves(store):
    release = opened(store)
    assert store.move(release, "advance") is not None
    assert store.move(release, "advance") is None
    assert store.get(release.id).revision == 1


def test_many_controllers_at_once_move_once(store):
    release = opened(store)
    results = []
    threads = [threading.Thread(target=lambda: results.append(store.move(release, "advance"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result is not None for result in results) == 1
    assert store.get(release.id).step == 0


def test_every_change_is_on_record(store, clock):
    release = opened(store)
    clock.advance(60)
    store.move(release, "advance", reasons=["enough seen"], evidence={"requests": 1200})
    steps = store.steps(release.id)
    assert [(step["revision"], step["stage"], step["reasons"]) for step in steps] == [
        (0, "shadow", ["opened"]),
        (1, "canary", ["advance", "enough seen"]),
    ]
    assert steps[1]["evidence"] == {"requests": 1200}
    assert steps[1]["share"] == 0.05


def test_the_lineage_knows_the_release(store, stores):
    release = opened(store)
    edges = stores.lineage.ancestors(Ref("release", release.id))
    assert [edge.source for edge in edges] == [Ref("model", "eta/2")]


def test_an_unknown_release_is_named(store):
    with pytest.raises(UnknownNameError, match="release"):
        store.get("nope")
