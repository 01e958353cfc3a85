"""What a garbage collection must not take: everything that a kept version, an open release or a turn still names.

A blob is needed while any fact names its digest: every table is read as text, so that a table of a later room is
respected without being known here. Names that are records of an answer, and no way back to the bytes, are left out
where the caller says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import sqlalchemy as sa

from loopwright.core.ref import Ref
from loopwright.core.storage.duck import borrowed
from loopwright.core.storage.payloads import INDEX
from loopwright.data.versions.hold import Holds
from loopwright.features.training_set import list_records
from loopwright.loop.turn_log import turn_steps, turns
from loopwright.training.run import runs
from loopwright.training.run_folder import folders_in

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from loopwright.features.training_set import TrainingSetRecord
    from loopwright.registry.version import ModelVersion
    from loopwright.workspace import Workspace

MADE = ("training_set", "model")  # what can be held, and was made from something else
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Needed:
    """What is needed now, asked for piece by piece.

    Args:
        workspace: The rooms.
        before: What was put away, or made, after this moment is too young to be taken.
        is_final: Whether what is found goes; else versions and training sets stay, and what they were made from.
    """

    workspace: Workspace
    before: datetime
    is_final: bool = True

    @cached_property
    def gone_versions(self) -> tuple[ModelVersion, ...]:
        """The archived versions that no alias, open release, unfinished turn or hold keeps."""
        open_releases = [release for release in self.workspace.releases.all() if self._is_open(release.model)]
        held = {name for release in open_releases for name in (release.champion, release.challenger)}
        collectable = self.workspace.registry.collectable(in_use=held)
        return tuple(
            version
            for version in collectable
            if version.archived_at is not None
            and version.archived_at < self.before
            and version.id not in self._unfinished
            and str(version.ref) not in self._held
        )

    def version_blobs(self, version: ModelVersion) -> set[str]:
        """Return the blobs that only this one, or others that are gone too, need."""
        gone = {one.id for one in self.gone_versions}
        others = [one for one in self.workspace.registry.versions(archived=True) if one.id not in gone]
        needed = {digest for one in others for digest in one.digests} | self._unregistered
        answers = {"model_versions", "runs", "turn_steps", "trusted_digests"}
        return set(version.digests) - needed - self.named(outside=answers)

    @cached_property
    def gone_training_sets(self) -> tuple[TrainingSetRecord, ...]:
        """The training sets that no kept version and no unfinished turn was made of, and that are not a model's newest.

        They can be made again from their snapshots.
        """
        records = list_records(self.workspace.stores)
        newest = {record.name: record.digest for record in reversed(records)}
        gone = {version.id for version in self.gone_versions}
        kept = [one for one in self.workspace.registry.versions(archived=True) if one.id not in gone]
        held = {version.training_set.id for version in kept} | set(newest.values()) | self._running_training_sets
        return tuple(
            record
            for record in records
            if record.digest not in held
            and record.created_at < self.before
            and record.digest not in self._unfinished
            and str(record.ref) not in self._held
        )

    def is_gone(self, made: Ref) -> bool:
        """Say whether something that was made from a snapshot needs it no more: a training set that went or may go."""
        return made.kind == "training_set" and str(made) not in self._held | self._kept_training_sets

    @cached_property
    def _kept_training_sets(self) -> set[str]:
        there = {str(record.ref) for record in list_records(self.workspace.stores)}
        return there - ({str(record.ref) for record in self.gone_training_sets} if self.is_final else set())

    @cached_property
    def _held(self) -> set[str]:
        """The names of what open holds name, and of all that it was made from; ``model:eta`` names its versions."""
        stores = self.workspace.stores
        named = {one.subject for one in Holds(stores.facts, stores.clock).open()}
        named |= {
            one.ref for one in self.workspace.registry.versions(archived=True) if Ref("model", one.model) in named
        }
        return {str(ref) for ref in named} | {
            str(edge.source) for ref in named if ref.kind in MADE for edge in stores.lineage.ancestors(ref)
        }

    def training_set_blobs(self, record: TrainingSetRecord) -> set[str]:
        """Return the blobs that only this one, or others that are gone too, need."""
        gone = {one.digest for one in self.gone_training_sets}
        others = [one for one in list_records(self.workspace.stores) if one.digest not in gone]
        needed = {digest for one in others for digest in (one.train_digest, one.holdout_digest)}
        answers = {"training_sets", "evaluations", "verdicts", "holdout_reads"}
        return {record.train_digest, record.holdout_digest} - needed - self.named(outside=answers)

    def named(self, *, outside: Collection[str] = ()) -> set[str]:
        """Return every digest that a fact, a payload's place or a run on this machine names.

        Args:
            outside: Tables that do not count.
        """
        tables = (found for name, found in self._by_table.items() if name not in outside)
        return self._elsewhere.union(*tables)

    @cached_property
    def _by_table(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        with self.workspace.stores.facts.read() as connection:
            for name in sa.inspect(connection).get_table_names():
                rows = connection.execute(sa.select(sa.text("*")).select_from(sa.table(name)))
                found[name] = {digest for row in rows for digest in _DIGEST.findall(str(tuple(row)))}
        return found

    @cached_property
    def _elsewhere(self) -> set[str]:
        stores = self.workspace.stores
        found: set[str] = set()
        for folder in folders_in(stores.local):
            if folder.synced.exists():
                continue  # all that it names is in the facts
            for path in folder.path.glob("*.json"):
                found.update(_DIGEST.findall(path.read_text(encoding="utf-8", errors="replace")))
        if stores.tables.exists(INDEX):
            with borrowed() as connection:
                stores.tables.attach(connection, "places", INDEX)
                shards = connection.execute("SELECT DISTINCT shard FROM places").fetchall()
                found.update(str(shard) for (shard,) in shards)
        return found

    @cached_property
    def _unfinished(self) -> str:
        """All that the steps of unfinished turns made, as one text to look names up in."""
        query = sa.select(turn_steps.c.output).join(turns).where(turns.c.status == "running")
        with self.workspace.stores.facts.read() as connection:
            return " ".join(str(output) for output in connection.execute(query).scalars())

    @cached_property
    def _unregistered(self) -> set[str]:
        """The model files of runs that no gone version came from."""
        gone = [version.run_id for version in self.gone_versions]
        query = sa.select(runs.c.model_file).where(runs.c.id.not_in(gone))
        with self.workspace.stores.facts.read() as connection:
            return {digest for row in connection.execute(query) for digest in _DIGEST.findall(str(row.model_file))}

    @cached_property
    def _running_training_sets(self) -> set[str]:
        query = sa.select(runs.c.training_set).where(runs.c.status == "running")
        with self.workspace.stores.facts.read() as connection:
            return set(connection.execute(query).scalars())

    def _is_open(self, model: str) -> bool:
        return self.workspace.releases.current(model) is not None
