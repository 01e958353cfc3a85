"""Run the chain of migrations on an open connection."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlalchemy as sa

_FOLDER = Path(__file__).parent


@functools.cache
def known_revisions() -> tuple[str, ...]:
    """Return the revisions this version knows, oldest first; file names begin with them."""
    return tuple(sorted(path.name[:4] for path in (_FOLDER / "versions").glob("[0-9]*_*.py")))


def upgrade(connection: sa.Connection) -> None:
    """Bring the store to the newest revision, inside the caller's transaction."""
    from alembic.config import Config  # noqa: PLC0415 - 0.3 s to import, and needed only when a store is behind
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    script = ScriptDirectory(str(_FOLDER))
    environment = EnvironmentContext(Config(), script)
    environment.configure(connection=connection, fn=lambda revision, _: script._upgrade_revs("head", revision))  # noqa: SLF001
    environment.run_migrations()
