"""Where a listed file lies on this machine; one in an object store is brought here first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.data.sources.bucket import Buckets
from loopwright.data.sources.listing import is_url

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from loopwright.data.sources.listing import Listed


class Here:
    """The files of one plan on this machine.

    Args:
        project: The folder where relative names begin.
        folder: A folder of the ingest, emptied when it ends, for what has to be fetched.
    """

    def __init__(self, project: Path, folder: Path) -> None:
        self.buckets = Buckets()
        self._project = project
        self._fetched = folder / "fetched"

    def bring(self, listed: Iterable[Listed]) -> None:
        """Fetch those that lie in an object store, several at once.

        Raises:
            SourceError: If one cannot be fetched.
        """
        urls = [one.name for one in listed if is_url(one.name)]
        if urls:
            self.buckets.fetch_all(urls, self._fetched)

    def path(self, listed: Listed) -> Path:
        """Return the file's path, fetching it where that was not done yet.

        Raises:
            SourceError: If it cannot be fetched.
        """
        if not is_url(listed.name):
            return self._project / listed.name
        return self.buckets.fetch(listed.name, self._fetched)

    def forget(self, listed: Listed) -> None:
        """Delete what was fetched of a file that is not needed any more."""
        if is_url(listed.name):
            self.path(listed).unlink(missing_ok=True)
