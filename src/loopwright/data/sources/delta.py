"""The source ``delta``: a Delta table that others write."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError
from loopwright.data.sources.secret import masked, shown_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class DeltaSource:
    """A Delta table. Make it with :func:`delta`, which checks it."""

    url: str
    columns: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def kind(self) -> str:
        """``delta``."""
        return "delta"

    @property
    def name(self) -> str:
        """What rows carry as ``_source``, with the version after it: ``delta:orders``."""
        return f"delta:{re.sub(r'[?#].*', '', self.url).rstrip('/').rpartition('/')[2]}"

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value; secrets are masked, their placeholders shown."""
        described: dict[str, object] = {
            "kind": self.kind,
            "url": masked(self.url),
            "columns": list(self.columns),
            "options": {name: shown_value(name, value) for name, value in self.options},
        }
        return {key: value for key, value in described.items() if value not in ([], {})}


def delta(url: str, *, columns: Sequence[str] = (), options: Mapping[str, str] | None = None) -> DeltaSource:
    """Declare a Delta table as a source. Each ingest brings the rows that were appended since the last one.

    Files that were only rewritten (``OPTIMIZE``) add nothing. After another kind of change, such as a ``MERGE``, an
    ``UPDATE`` or an overwrite, a dataset with a key compares the whole new version with what is stored
    (``on_duplicate="upsert"`` takes what changed); one without a key refuses, and names the version and the operation.
    Rows that the table deletes stay.

    Args:
        url: A folder, from the project's on, or the URL of one in an object store.
        columns: The columns to read; all by default.
        options: Options of the object store, as delta-rs names them; ``{name}`` stands for a secret of the settings.

    Raises:
        DeclarationError: If the URL is empty.

    >>> delta("s3://lake/sales/orders").name
    'delta:orders'
    """
    if not isinstance(url, str) or not url:
        raise DeclarationError(f"delta() takes the folder or URL of a table, got {url!r}.")
    return DeltaSource(url, tuple(columns), tuple((options or {}).items()))
