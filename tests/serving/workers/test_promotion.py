"""Two phases over all workers: nothing is in force anywhere before it is prepared everywhere."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.serving.models.messages import Abort, Commit, Prepare, Refuse
from loopwright.serving.models.model_source import Target
from loopwright.serving.models.promotion import RETRY_S, Promotion
from loopwright.serving.releases.router import Routing


def champion(number: int) -> Target:
    return Target(Routing(number), f"m/{number}")


def on_trial(number: int, challenger: int) -> Target:
    return Target(Routing(number, challenger, "canary", 0.5), f"m/{number}", f"m/{challenger}")


class Group:
    """Workers in memory: each carries out its orders in their sequence, when it is told to go on."""

    def __init__(self) -> None:
        self.promotion = Promotion()
        self.now = 0.0
        self.queues: dict[int, deque] = {}
        self.staged: dict[int, dict[int, tuple[str, Target]]] = {}
        self.in_force: dict[int, dict[str, Target]] = {}
        self.refused: list[str] = []
        self.broken: dict[str, set[int]] = {}  # versions by the workers that cannot load them
        self.prepared: dict[int, set[int]] = {}
        self.committed: dict[int, set[int]] = {}
        self.born = 0

    def take(self, orders) -> None:
        for order in orders:
            if isinstance(order.message, Refuse):
                self.refused.append(order.message.version)
            elif order.worker in self.queues:
                self.queues[order.worker].append(order.message)

    def join(self) -> int:
        self.born += 1
        self.queues[self.born], self.staged[self.born], self.in_force[self.born] = deque(), {}, {}
        self.take(self.promotion.joined(self.born, self.now))
        return self.born

    def kill(self, worker: int) -> None:
        del self.queues[worker]
        del self.in_force[worker]
        self.take(self.promotion.left(worker, self.now))

    def go_on(self, worker: int) -> None:
        """Carry out one order."""
        message = self.queues[worker].popleft()
        if isinstance(message, Prepare):
            target = message.target
            for version in (target.champion, target.challenger):
                if version is not None and worker in self.broken.get(version, ()):
                    self.take(self.promotion.prepared(worker, message.turn, version, "broken", self.now))
                    return
            self.staged[worker][message.turn] = (message.model, target)
            self.prepared.setdefault(message.turn, set()).add(worker)
            self.take(self.promotion.prepared(worker, message.turn, None, "", self.now))
        elif isinstance(message, Commit):
            self.committed.setdefault(message.turn, set()).add(worker)
            model, target = self.staged[worker].pop(message.turn)
            self.in_force[worker][model] = target
            self.take(self.promotion.committed_by(worker, message.turn, self.now, self.now))
        elif isinstance(message, Abort):
            self.staged[worker].pop(message.turn, None)

    def settle(self) -> None:
        while any(self.queues.values()):
            for worker in list(self.queues):
                while self.queues.get(worker):
                    self.go_on(worker)

    def want(self, **targets: Target) -> None:
        self.take(self.promotion.want(targets, self.now))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.promotion.step(self.now))


@pytest.fixture
def group() -> Group:
    made = Group()
    made.join()
    made.join()
    return made


def test_nobody_commits_before_all_have_prepared(group):
    group.want(m=champion(1))
    group.go_on(1)
    assert not group.queues[1]
    group.go_on(2)
    assert [type(queue[0]) for queue in group.queues.values()] == [Commit, Commit]
    group.settle()
    assert group.in_force == {1: {"m": champion(1)}, 2: {"m": champion(1)}}
    assert group.promotion.last_skew_s == 0


def test_one_failure_aborts_on_all_and_the_old_version_stays(group):
    group.want(m=champion(1))
    group.settle()
    group.broken = {"m/2": {2}}
    group.want(m=champion(2))
    group.settle()
    assert group.refused == ["m/2"]
    assert all(found == {"m": champion(1)} for found in group.in_force.values())
    assert not any(group.staged.values())
    assert group.promotion.problems == {"m": "m/2 could not be loaded: broken"}
    group.broken = {}
    group.wait(RETRY_S / 2)
    assert not any(group.queues.values())
    group.wait(RETRY_S)
    group.settle()
    assert all(found == {"m": champion(2)} for found in group.in_force.values())
    assert group.promotion.problems == {}


def test_a_refused_challenger_leaves_the_champion_alone_in_force(group):
    group.broken = {"m/2": {1}}
    group.want(m=on_trial(1, 2))
    group.settle()
    assert group.refused == ["m/2"]
    assert all(found == {"m": champion(1)} for found in group.in_force.values())
    group.wait(RETRY_S)
    assert not any(group.queues.values()), "it is not tried again"


def test_a_worker_that_comes_later_is_brought_to_what_is_in_force(group):
    group.want(m=champion(1), n=Target(Routing(5), "n/5"))
    group.settle()
    group.kill(1)
    late = group.join()
    assert not group.promotion.is_current(late)
    group.settle()
    assert group.promotion.is_current(late)
    assert group.in_force[late] == group.in_force[2] == {"m": champion(1), "n": Target(Routing(5), "n/5")}


def test_a_worker_killed_while_it_loads_does_not_cost_the_version_once(group):
    group.want(m=champion(1))
    group.go_on(1)
    group.kill(2)
    group.join()
    group.settle()
    assert group.refused == []
    assert all(found == {"m": champion(1)} for found in group.in_force.values())


def test_a_version_that_kills_workers_is_refused(group):
    group.want(m=champion(1))
    group.settle()
    group.want(m=champion(2))
    for _ in range(2):
        victim = next(worker for worker, queue in group.queues.items() if queue and isinstance(queue[-1], Prepare))
        group.kill(victim)
        late = group.join()
        while group.queues[late]:
            group.go_on(late)
    group.settle()
    assert group.refused == ["m/2"]
    assert all(found == {"m": champion(1)} for found in group.in_force.values())


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("want"), st.integers(1, 4)),
            st.tuples(st.just("go"), st.integers(0, 3)),
            st.tuples(st.just("kill"), st.integers(0, 3)),
            st.tuples(st.just("join"), st.just(0)),
            st.tuples(st.just("wait"), st.just(0)),
        ),
        max_size=60,
    ),
    st.sets(st.integers(1, 4), max_size=2),
)
def test_whatever_happens_all_end_with_the_same_and_only_what_was_prepared(events, broken):
    group = Group()
    group.join()
    group.broken = {f"m/{number}": set(range(1, 200)) for number in broken}
    for event, number in events:
        workers = sorted(group.queues)
        if event == "want":
            group.want(m=champion(number))
        elif event == "join" and len(workers) < 4:
            group.join()
        elif event == "wait":
            group.wait(RETRY_S)
        elif workers and event == "kill":
            group.kill(workers[number % len(workers)])
        elif workers and event == "go" and group.queues[workers[number % len(workers)]]:
            group.go_on(workers[number % len(workers)])
    if not group.queues:
        group.join()
    last = next((number for event, number in reversed(events) if event == "want"), None)
    group.settle()
    group.wait(RETRY_S)
    group.settle()
    for turn, workers in group.committed.items():
        assert workers <= group.prepared[turn]
    found = [group.in_force[worker].get("m") for worker in group.queues]
    assert all(target == found[0] for target in found), "all the same"
    assert all(group.promotion.is_current(worker) for worker in group.queues)
    refused_for_dying = {version for version in group.refused if int(version[2:]) not in broken}
    if last is not None and last not in broken and f"m/{last}" not in refused_for_dying:
        assert found[0] == champion(last)
    assert all(target is None or target.routing.champion not in broken for target in found)
