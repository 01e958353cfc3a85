"""The rows of an ingest that fail a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from loopwright.data.contract.words import OnFailure


@dataclass(frozen=True)
class RowsFailed:
    """The rows of an ingest that fail a check."""

    check: str
    column: str
    label: str
    on_failure: OnFailure
    positions: pa.Int64Array
    of_rows: int  # those that the check looks at
    is_tolerated: bool = False  # they are few enough for ``mostly``
