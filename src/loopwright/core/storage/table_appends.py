"""What was appended to a local table between two versions, told by its log alone: the files that the appends wrote.

That costs a look at the commits between, and the reading of what is new, however large the table is and whatever was
merged meanwhile: merged files stay on disk until a vacuum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from loopwright.core.storage.table_state import LocalLog, only_merges

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.storage.table_changes import TableSpan

_MOST_COMMITS = 2_000  # over more of them the files of the later version are quicker to tell


def appended_files(folder: Path, span: TableSpan) -> tuple[Path, ...] | None:
    """Return the files that came by appends, oldest first; none where all commits only merged files.

    Args:
        folder: The table's folder.
        span: The versions; the later one exists.

    Returns:
        None where the log alone does not tell: from the empty table on, after very many commits, where rows were
        deleted, columns were added or a file is no longer there.
    """
    if span.after < 1 or span.until - span.after > _MOST_COMMITS:
        return None
    log = LocalLog(folder)
    files: list[Path] = []
    for version in range(span.after + 1, span.until + 1):
        actions = log.read(version)
        if actions is None:
            return None
        if only_merges(actions):
            continue
        if not {"add", "commitInfo", "txn"}.issuperset(kind for action in actions for kind in action):
            return None
        added = [action["add"] for action in actions if "add" in action]
        if any(one.get("partitionValues") or one.get("deletionVector") for one in added):
            return None
        files += [folder / unquote(str(one["path"])) for one in added]
    return tuple(files) if all(file.exists() for file in files) else None
