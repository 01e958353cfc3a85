"""The versions of a store's tables that were described before, newest use last; the newest one is followed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from loopwright.core.errors import UnknownNameError
from loopwright.core.storage.table_errors import committing
from loopwright.core.storage.table_files import TableFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from deltalake import DeltaTable

    from loopwright.core.storage.table_handle import TableHandle

_KEPT = 64


class TableSnapshots:
    """Describe versions, each once.

    Args:
        folder: where this machine has the tables' files, or copies.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[tuple[str, int], TableFiles] = {}
        self._lock = threading.Lock()

    def of(
        self, table: str, version: int | None, handle: TableHandle, required: Callable[[], DeltaTable]
    ) -> TableFiles:
        """Describe a version, the newest by default; where later ones only merged files, by the files merged last.

        Args:
            table: the table.
            version: the version.
            handle: the open table.
            required: gives the table at its newest version, or says that there is none.

        Raises:
            UnknownNameError: there is no such table or version.
        """
        with handle.lock, committing(f"open table '{table}'"):
            state = handle.state()
            if state is None and version is not None and (kept := self._found.get((table, version))) is not None:
                return kept
            delta = required() if state is None else state.delta
            newest = delta.version() if state is None else state.version
            wanted = newest if version is None else version
            if state is not None and state.same_since <= wanted <= newest:
                wanted = newest  # the same rows, in fewer files
            if (kept := self._found.get((table, wanted))) is not None:
                return kept
            if not 0 <= wanted <= newest:
                raise UnknownNameError("version", f"{table}@{wanted}", [f"{table}@{newest}"])
            if state is not None and wanted == newest:
                found = state.described(self._folder / table)
            else:
                found = TableFiles.of(delta if wanted == newest else handle.open(wanted), self._folder / table)
        with self._lock:
            self._found[table, wanted] = found
            while len(self._found) > _KEPT:
                self._found.pop(next(iter(self._found)))
        return found

    def forget(self, table: str) -> None:
        """Describe a table's versions anew when they are asked for next."""
        with self._lock:
            for kept in [one for one in self._found if one[0] == table]:
                del self._found[kept]
