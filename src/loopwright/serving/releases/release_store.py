"""Releases in the facts: opened once per model, changed by compare-and-set, every change on record."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import sqlalchemy as sa

from loopwright.core.errors import RefusedError, UnknownNameError
from loopwright.core.ref import Ref
from loopwright.core.storage.facts import UtcDateTime, metadata
from loopwright.registry.alias import Aliases
from loopwright.serving.releases.release import Release, ReleasePlan, after, opening, version_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.core.storage.stores import Stores
    from loopwright.serving.releases.release import ReleaseMove

releases = sa.Table(
    "releases",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("open_model", sa.String(200), nullable=True, unique=True),  # the model while open: one open release each
    sa.Column("champion", sa.String(220), nullable=False),
    sa.Column("challenger", sa.String(220), nullable=False),
    sa.Column("plan", sa.JSON, nullable=False),
    sa.Column("stage", sa.String(20), nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("opened_at", UtcDateTime, nullable=False),
    sa.Column("step_started_at", UtcDateTime, nullable=False),
    sa.Column("closed_at", UtcDateTime, nullable=True),
    sa.Column("reason", sa.Text, nullable=True),
    sa.Index("ix_releases_model", "model", "opened_at"),
)

release_steps = sa.Table(
    "release_steps",
    metadata,
    sa.Column("release_id", sa.String(36), primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("stage", sa.String(20), nullable=False),
    sa.Column("share", sa.Float, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("reasons", sa.JSON, nullable=False),
    sa.Column("evidence", sa.JSON, nullable=False),
)


class ReleaseStore:
    """Keep releases; any number of processes may use it at once."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._aliases = Aliases(stores)

    def open(self, model: str, *, champion: str, challenger: str, plan: ReleasePlan) -> Release:
        """Open a release; opening the same pair again while it is open returns the open one.

        Raises:
            RefusedError: When another release of the model is open.
        """
        now = self._stores.clock.now()
        release = Release(
            id=self._stores.ids.new(),
            model=model,
            champion=champion,
            challenger=challenger,
            plan=plan,
            stage=opening(plan),
            step=0,
            revision=0,
            opened_at=now,
            step_started_at=now,
        )
        with self._stores.facts.write() as connection:
            row = connection.execute(sa.select(releases).where(releases.c.open_model == model)).mappings().one_or_none()
            if row is not None:
                present = _from_row(row)
                if (present.champion, present.challenger) == (champion, challenger):
                    return present
                raise RefusedError(
                    f"{model} has a release open already: {present.challenger} over {present.champion}, in "
                    f"{present.stage}.",
                    hint="Wait for it, or roll it back first.",
                )
            connection.execute(releases.insert().values(**_to_row(release)))
            self._record(connection, release, ["opened"], {})
            self._stores.lineage.link(
                Ref("model", challenger), Ref("release", release.id), "released", connection=connection
            )
        return release

    def get(self, release_id: str) -> Release:
        """Return a release.

        Raises:
            UnknownNameError: When there is none with this id.
        """
        with self._stores.facts.read() as connection:
            row = connection.execute(sa.select(releases).where(releases.c.id == release_id)).mappings().one_or_none()
        if row is None:
            raise UnknownNameError("release", release_id)
        return _from_row(row)

    def current(self, model: str) -> Release | None:
        """Return the open release of a model, or None."""
        with self._stores.facts.read() as connection:
            row = connection.execute(sa.select(releases).where(releases.c.open_model == model)).mappings().one_or_none()
        return None if row is None else _from_row(row)

    def all(self, model: str | None = None) -> list[Release]:
        """Return all releases, the newest first."""
        query = sa.select(releases).order_by(releases.c.opened_at.desc(), releases.c.id.desc())
        if model is not None:
            query = query.where(releases.c.model == model)
        with self._stores.facts.read() as connection:
            return [_from_row(row) for row in connection.execute(query).mappings()]

    def move(
        self,
        release: Release,
        move: ReleaseMove,
        *,
        reasons: Sequence[str] = (),
        evidence: dict[str, object] | None = None,
    ) -> Release | None:
        """Make a move from exactly the state in ``release``; None when somebody else moved first.

        A move that ends the release also drops the alias ``challenger``, in the same transaction: whoever is killed
        here leaves both or neither.

        Raises:
            RefusedError: When the state machine has no such move.
        """
        now = self._stores.clock.now()
        changed = after(release, move, at=now, reason="; ".join(reasons) or None)
        with self._stores.facts.write() as connection:
            result = connection.execute(
                releases.update()
                .where(releases.c.id == release.id, releases.c.revision == release.revision)
                .values(**_to_row(changed))
            )
            if result.rowcount != 1:
                return None
            self._record(connection, changed, [move, *reasons], evidence or {})
            if not changed.is_open:
                number = version_number(release.challenger)
                self._aliases.drop_challenger(connection, release.model, number, by=f"release {release.id}")
        return changed

    def steps(self, release_id: str) -> list[dict[str, object]]:
        """Return the changes of a release in order: revision, stage, share, at, reasons, evidence."""
        query = (
            sa.select(release_steps).where(release_steps.c.release_id == release_id).order_by(release_steps.c.revision)
        )
        with self._stores.facts.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _record(
        self, connection: sa.Connection, release: Release, reasons: Sequence[str], evidence: dict[str, object]
    ) -> None:
        connection.execute(
            release_steps.insert().values(
                release_id=release.id,
                revision=release.revision,
                stage=release.stage,
                share=release.share,
                at=release.step_started_at,
                reasons=list(reasons),
                evidence=evidence,
            )
        )


def _to_row(release: Release) -> dict[str, object]:
    return {
        "id": release.id,
        "model": release.model,
        "open_model": release.model if release.is_open else None,
        "champion": release.champion,
        "challenger": release.challenger,
        "plan": asdict(release.plan),
        "stage": release.stage,
        "step": release.step,
        "revision": release.revision,
        "opened_at": release.opened_at,
        "step_started_at": release.step_started_at,
        "closed_at": release.closed_at,
        "reason": release.reason,
    }


def _from_row(row: sa.RowMapping) -> Release:
    values = dict(row)
    values.pop("open_model")
    plan = values.pop("plan")
    plan["canary_shares"] = tuple(plan["canary_shares"])
    return Release(**values, plan=ReleasePlan(**plan))
