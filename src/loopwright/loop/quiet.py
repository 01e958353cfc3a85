"""Nothing new: known without importing the project.

A turn that ended with everything done leaves a mark: the content of the project's files and settings, the installed
packages, the listing of each source, the newest ingest, the versions that the aliases name, and the next moment at
which time alone brings work (a label matures, a schedule is due). While all of that still holds, another ``run`` has
nothing to do and says so within a fraction of a second.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from loopwright.core.hashing import digest_bytes, digest_json
from loopwright.core.storage.facts import UtcDateTime, metadata
from loopwright.core.version import __version__
from loopwright.data.ingest.records import ingests
from loopwright.data.sources.listing import state_digest
from loopwright.loop.turn_log import TurnLog
from loopwright.training.environment import installed_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopwright.core.settings import Settings
    from loopwright.core.storage.facts import Facts
    from loopwright.loop.project import Loop
    from loopwright.loop.turn_log import TurnRecord
    from loopwright.workspace import Workspace

quiet_marks = sa.Table(
    "quiet_marks",
    metadata,
    sa.Column("loop_file", sa.String(500), primary_key=True),
    sa.Column("mark", sa.JSON, nullable=False),
    sa.Column("noted_at", UtcDateTime, nullable=False),
)
# The registry's table by name: importing the room would cost ten times what the answer does.
_aliases = sa.table("aliases", sa.column("model"), sa.column("alias"), sa.column("version"))


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
    """Return a digest of all that decides what a turn does.

    That is: the project's Python files, settings, the interpreter, the installed packages, and our version.
    """
    files = {str(path.relative_to(project)): digest_bytes(path.read_bytes()) for path in _python_files(project)}
    described = settings.model_dump(mode="json", exclude={"serving_token", "access_token"})
    return digest_json([__version__, described, sys.version, dict(installed_packages()), files])


def _python_files(project: Path) -> Iterator[Path]:
    """Walk past hidden folders and virtual environments without looking into them."""
    for folder, folders, names in os.walk(project):
        if "pyvenv.cfg" in names:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
        yield from (Path(folder) / name for name in sorted(names) if name.endswith(".py") and not name.startswith("."))


def note_quiet(loop: Loop, workspace: Workspace, *, project: str, turn: TurnRecord, until: datetime | None) -> bool:
    """Leave a mark that nothing is left to do; return False where something is, or where that cannot be told later.

    Args:
        loop: The declared project.
        workspace: Its workspace.
        project: The project's digest from **before** it was loaded: an edit made meanwhile is not covered by the turn.
        turn: The turn that left nothing to do.
        until: When time alone brings work again, seen from the turn's start.
    """
    if not set(loop.models) <= set(turn.models):  # a turn that a killed process left behind may have been of fewer
        return False
    seen = {step.name: step.output.get("version") for step in TurnLog(workspace.stores).steps(turn.id)}
    stores = workspace.stores
    sources = []
    for dataset in loop.datasets.values():
        described = dataset.source.describe()
        state = state_digest(described, stores.settings.project)
        if state is None and described.get("kind") != "push":
            return False
        if workspace.data.has_new(dataset):  # asked after the listing, so a file that came in between is seen
            return False
        newest = workspace.data.snapshot(dataset.name).version if dataset.name in workspace.data.names() else None
        if newest != seen.get(f"ingest {dataset.name}"):  # pushed meanwhile, or before a killed turn was taken up again
            return False
        sources.append([described, state])
    with stores.facts.write() as connection:
        mark = {
            "project": project,
            "sources": sources,
            "ingest": _last_ingest(connection),
            "aliases": _named_versions(connection),
            "until": None if until is None else until.isoformat(),
            "turn_id": turn.id,
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
        if stored.get("aliases") != _named_versions(connection):  # rolled back, or promoted by hand
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


def _named_versions(connection: sa.Connection) -> list[list[object]]:
    query = sa.select(_aliases).order_by(_aliases.c.model, _aliases.c.alias)
    return [list(row) for row in connection.execute(query)]
