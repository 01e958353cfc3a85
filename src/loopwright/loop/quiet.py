"""Nothing new: known without importing the project.

A turn that ended with everything done leaves a mark: the content of the project's files and settings, the listing of
each source, the newest ingest, and the next moment at which time alone brings work (a label matures, a schedule is
due). While all of that still holds, another ``run`` has nothing to do and says so within a fraction of a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from loopwright.core.hashing import digest_bytes, digest_json
from loopwright.core.storage.facts import UtcDateTime, metadata
from loopwright.core.version import __version__
from loopwright.data.listing import state_digest
from loopwright.data.records import ingests

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.settings import Settings
    from loopwright.core.storage.facts import Facts
    from loopwright.loop.project import Loop
    from loopwright.workspace import Workspace

quiet_marks = sa.Table(
    "quiet_marks",
    metadata,
    sa.Column("loop_file", sa.String(500), primary_key=True),
    sa.Column("mark", sa.JSON, nullable=False),
    sa.Column("noted_at", UtcDateTime, nullable=False),
)


@dataclass(frozen=True)
class QuietMark:
    """Says that nothing is left to do.

    Attributes:
        turn_id: The turn that left the mark.
        until: When time alone brings work again; None for never.
    """

    turn_id: str
    until: datetime | None


def project_digest(project: Path, settings: Settings) -> str:
    """Return a digest of all that decides what a turn does: the project's Python files, settings, our version."""
    files = {
        str(path.relative_to(project)): digest_bytes(path.read_bytes())
        for path in sorted(project.rglob("*.py"))
        if not any(part.startswith(".") for part in path.relative_to(project).parts)
    }
    return digest_json([__version__, settings.model_dump(mode="json", exclude={"serving_token"}), files])


def note_quiet(loop: Loop, workspace: Workspace, *, project: str, turn_id: str, until: datetime | None) -> bool:
    """Leave a mark that nothing is left to do; return False where something is, or where that cannot be told later.

    Args:
        loop: The declared project.
        workspace: Its workspace.
        project: The project's digest from **before** it was loaded: an edit made meanwhile is not covered by the turn.
        turn_id: The turn that left nothing to do.
        until: When time alone brings work again.
    """
    stores = workspace.stores
    sources = []
    for dataset in loop.datasets.values():
        described = dataset.source.describe()
        state = state_digest(described, stores.settings.project)
        if state is None and described.get("kind") != "push":
            return False
        if workspace.data.has_new(dataset):  # asked after the listing, so a file that came in between is seen
            return False
        sources.append([described, state])
    with stores.facts.write() as connection:
        mark = {
            "project": project,
            "sources": sources,
            "ingest": _last_ingest(connection),
            "until": None if until is None else until.isoformat(),
            "turn_id": turn_id,
        }
        row = {"loop_file": str(stores.settings.project), "mark": mark, "noted_at": stores.clock.now()}
        stores.facts.upsert(connection, quiet_marks, row)
    return True


def still_quiet(facts: Facts, settings: Settings, *, now: datetime) -> QuietMark | None:
    """Return the mark if nothing that it names has changed, else None."""
    with facts.read() as connection:
        query = sa.select(quiet_marks.c.mark).where(quiet_marks.c.loop_file == str(settings.project))
        stored = connection.execute(query).scalar()
        if stored is None or stored["ingest"] != _last_ingest(connection):
            return None
    until = None if stored["until"] is None else datetime.fromisoformat(stored["until"])
    if until is not None and until <= now:
        return None
    if stored["project"] != project_digest(settings.project, settings):
        return None
    if any(state_digest(described, settings.project) != state for described, state in stored["sources"]):
        return None
    return QuietMark(stored["turn_id"], until)


def _last_ingest(connection: sa.Connection) -> str | None:
    """Return the newest ingest: rows that were pushed leave one and change no listing."""
    newest: str | None = connection.execute(sa.select(sa.func.max(ingests.c.id))).scalar()
    return newest
