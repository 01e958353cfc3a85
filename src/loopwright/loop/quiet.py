"""Nothing new: known without importing the project.

A turn that ended with everything done leaves a mark: the content of the project's files and settings, the listing of
each source, and the next moment at which time alone brings work (a label matures, a schedule is due). While all of that
still holds, another ``run`` has nothing to do and says so within a fraction of a second.
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

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.settings import Settings
    from loopwright.core.storage.facts import Facts
    from loopwright.loop.project import Loop

quiet_marks = sa.Table(
    "quiet_marks",
    metadata,
    sa.Column("loop_file", sa.String(500), primary_key=True),
    sa.Column("mark", sa.JSON, nullable=False),
    sa.Column("noted_at", UtcDateTime, nullable=False),
)


@dataclass(frozen=True)
class QuietMark:
    """The state in which nothing was left to do.

    Attributes:
        project: Digest of the project's Python files, its settings and the version of Loopwright.
        sources: Each source's description and the digest of its listing.
        until: When time alone brings work again; None for never.
        turn_id: The turn that left the mark.
    """

    project: str
    sources: tuple[tuple[dict[str, object], str], ...]
    until: datetime | None
    turn_id: str


def project_digest(project: Path, settings: Settings) -> str:
    """Return a digest of all that decides what a turn does: the project's Python files, settings, our version."""
    files = {
        str(path.relative_to(project)): digest_bytes(path.read_bytes())
        for path in sorted(project.rglob("*.py"))
        if not any(part.startswith(".") for part in path.relative_to(project).parts)
    }
    return digest_json([__version__, settings.model_dump(mode="json", exclude={"serving_token"}), files])


def note_quiet(
    facts: Facts, loop: Loop, settings: Settings, *, turn_id: str, until: datetime | None, now: datetime
) -> bool:
    """Leave a mark that nothing is left to do; return False where a source cannot be listed without the project."""
    sources = []
    for dataset in loop.datasets.values():
        described = dataset.source.describe()
        state = state_digest(described, settings.project)
        if state is None and described.get("kind") != "push":
            return False
        sources.append([described, state or "push"])
    mark = {
        "project": project_digest(settings.project, settings),
        "sources": sources,
        "until": None if until is None else until.isoformat(),
        "turn_id": turn_id,
    }
    with facts.write() as connection:
        row = {"loop_file": str(settings.project), "mark": mark, "noted_at": now}
        facts.upsert(connection, quiet_marks, row)
    return True


def forget_quiet(facts: Facts, settings: Settings) -> None:
    """Remove the mark: rows were pushed, or a person asked for a turn."""
    with facts.write() as connection:
        connection.execute(sa.delete(quiet_marks).where(quiet_marks.c.loop_file == str(settings.project)))


def still_quiet(facts: Facts, settings: Settings, *, now: datetime) -> QuietMark | None:
    """Return the mark if nothing that it names has changed, else None."""
    with facts.read() as connection:
        query = sa.select(quiet_marks.c.mark).where(quiet_marks.c.loop_file == str(settings.project))
        stored = connection.execute(query).scalar()
    if stored is None:
        return None
    until = None if stored["until"] is None else datetime.fromisoformat(stored["until"])
    mark = QuietMark(stored["project"], tuple((d, s) for d, s in stored["sources"]), until, stored["turn_id"])
    if until is not None and until <= now:
        return None
    if mark.project != project_digest(settings.project, settings):
        return None
    for described, state in mark.sources:
        if described.get("kind") != "push" and state_digest(described, settings.project) != state:
            return None
    return mark
