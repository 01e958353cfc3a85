from __future__ import annotations

import dataclasses
import itertools

import pytest
import sqlalchemy as sa
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sklearn.linear_model import Ridge

from loopwright.core.errors import (
    AliasConflictError,
    DeclarationError,
    GateRefusedError,
    RefusedError,
    UnknownNameError,
)
from loopwright.registry.alias import Aliases, Override
from loopwright.registry.registry import Registry
from loopwright.registry.trail import AliasMove

ANNA = Override("anna", "the gate is down and the old one answers nonsense")


@pytest.fixture
def versions(stores, runs):
    registry = Registry(stores)
    first = registry.register(runs.candidate(Ridge()))
    for number in range(2, 6):
        registry.record(dataclasses.replace(first, run_id=f"run-{number}"), reason="packaged here")
    return stores


def test_an_alias_moves_from_where_it_points(versions, clock):
    aliases = Aliases(versions)
    first = aliases.move("eta", "challenger", 1, expected=None, by="loop")
    clock.advance(60)
    second = aliases.move("eta", "challenger", 3, expected=1, by="anna")
    assert aliases.current("eta", "challenger") == 3
    assert Registry(versions).get("eta", "challenger").version == 3
    assert aliases.history("eta", "challenger") == [first, second]
    assert second == AliasMove("eta", "challenger", 2, 1, 3, clock.now(), "anna")
    assert aliases.of_model("eta") == {"challenger": 3}


def test_who_expected_something_else_is_told(versions):
    aliases = Aliases(versions)
    aliases.move("eta", "challenger", 2, expected=None, by="anna")
    with pytest.raises(AliasConflictError, match=r"points to version 2, not to version 1; anna moved it"):
        aliases.move("eta", "challenger", 3, expected=1, by="bob")
    with pytest.raises(AliasConflictError, match="points to nothing"):
        aliases.move("eta", "mine", 3, expected=1, by="bob")
    assert aliases.current("eta", "challenger") == 2


@pytest.mark.parametrize("name", ["latest", "Champion", "7", "", "a b"])
def test_alias_names_are_held_to_a_form(versions, name):
    with pytest.raises(DeclarationError, match="cannot be used"):
        Aliases(versions).move("eta", name, 1, expected=None, by="anna")


def test_unknown_versions_are_refused(versions):
    with pytest.raises(UnknownNameError, match="eta/9"):
        Aliases(versions).move("eta", "challenger", 9, expected=None, by="anna")


def test_champion_needs_a_passing_verdict_or_an_override(versions):
    aliases = Aliases(versions)
    with pytest.raises(GateRefusedError, match="no verdict"):
        aliases.move("eta", "champion", 1, expected=None, by="loop")
    assert aliases.current("eta") is None
    move = aliases.move("eta", "champion", 1, expected=None, by="loop", override=ANNA)
    assert (move.moved_by, move.override_reason) == ("anna", ANNA.reason)
    with pytest.raises(DeclarationError, match="name and a reason"):
        Override("anna", " ")


def test_rollback_goes_back_step_by_step(versions):
    aliases = Aliases(versions)
    for before, after in ((None, 1), (1, 2), (2, 4)):
        aliases.move("eta", "champion", after, expected=before, by="loop", override=ANNA)
    back = aliases.rollback("eta", by="bob", reason="errors at the door")
    assert (back.from_version, back.to_version, back.rollback) == (4, 2, True)
    assert aliases.rollback("eta", by="bob", reason="still").to_version == 1
    with pytest.raises(RefusedError, match="no version to go back to"):
        aliases.rollback("eta", by="bob", reason="still")
    aliases.move("eta", "champion", 5, expected=1, by="loop", override=ANNA)
    assert aliases.rollback("eta", by="bob", reason="again").to_version == 1
    with pytest.raises(RefusedError, match="cannot be dropped"):
        aliases.drop("eta", "champion", expected=1, by="bob")


def test_a_failed_move_leaves_nothing(versions):
    aliases = Aliases(versions)
    with versions.facts.write() as connection:
        connection.execute(sa.text("CREATE TRIGGER stop BEFORE INSERT ON aliases BEGIN SELECT RAISE(ABORT, 'no'); END"))
    with pytest.raises(Exception, match="no"):
        aliases.move("eta", "challenger", 1, expected=None, by="anna")
    assert aliases.history("eta", "challenger") == []
    assert aliases.current("eta", "challenger") is None


def test_any_sequence_keeps_the_chain(versions):
    """The aliases behave as a stack of versions per name, and the trail explains where each one points."""
    names = iter(range(1000))

    class Machine(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.alias = f"run-{next(names)}"
            self.aliases = Aliases(versions)
            self.points: int | None = None
            self.stack: list[int] = []
            self.moves = 0

        @rule(to=st.integers(1, 5), expected=st.one_of(st.none(), st.integers(1, 5)))
        def move(self, to, expected):
            if expected != self.points:
                with pytest.raises(AliasConflictError):
                    self.aliases.move("eta", self.alias, to, expected=expected, by="x")
                return
            self.aliases.move("eta", self.alias, to, expected=expected, by="x")
            self._moved(to)

        @rule(to=st.integers(1, 5))
        def move_rightly(self, to):
            self.aliases.move("eta", self.alias, to, expected=self.points, by="x")
            self._moved(to)

        @rule()
        def drop(self):
            if self.points is not None:
                self.aliases.drop("eta", self.alias, expected=self.points, by="x")
                self.points = None
                self.moves += 1

        @rule()
        def rollback(self):
            if len(self.stack) < 2:
                with pytest.raises(RefusedError):
                    self.aliases.rollback("eta", by="x", reason="y", alias=self.alias)
                return
            self.stack.pop()
            self.points = self.stack[-1]
            self.moves += 1
            assert self.aliases.rollback("eta", by="x", reason="y", alias=self.alias).to_version == self.points

        @invariant()
        def the_trail_is_a_chain(self):
            trail = self.aliases.history("eta", self.alias)
            assert [move.move for move in trail] == list(range(1, self.moves + 1))
            assert all(a.to_version == b.from_version for a, b in itertools.pairwise(trail))
            assert self.aliases.current("eta", self.alias) == self.points
            assert (trail[-1].to_version if trail else None) == self.points

        def _moved(self, to):
            self.points = to
            self.moves += 1
            if self.stack[-1:] != [to]:
                self.stack.append(to)

    run_state_machine_as_test(
        Machine, settings=hypothesis_settings(max_examples=25, stateful_step_count=15, deadline=None)
    )
