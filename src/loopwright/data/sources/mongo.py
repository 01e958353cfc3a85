"""The source ``mongo``: a collection of MongoDB."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from loopwright.core.errors import DeclarationError
from loopwright.data.sources.secret import masked
from loopwright.data.sources.sql import check_overlap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopwright.data.sources.window import Overlap


@dataclass(frozen=True)
class MongoSource:
    """A collection. Make it with :func:`mongo`, which checks it."""

    url: str = field(repr=False)
    database: str
    collection: str
    watermark: str | None = None
    overlap: Overlap = None
    columns: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def kind(self) -> str:
        """``mongo``."""
        return "mongo"

    @property
    def name(self) -> str:
        """What rows carry as ``_source``: ``mongo:shop.orders``."""
        return f"mongo:{self.database}.{self.collection}"

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value; passwords are masked."""
        overlap = self.overlap.total_seconds() if isinstance(self.overlap, timedelta) else self.overlap
        described: dict[str, object] = {
            "kind": self.kind,
            "url": masked(self.url),
            "database": self.database,
            "collection": self.collection,
            "watermark": self.watermark,
            "overlap": overlap,
            "columns": list(self.columns),
            "fields": dict(self.fields),
        }
        return {key: value for key, value in described.items() if value not in (None, [], {})}


def mongo(
    url: str,
    *,
    database: str,
    collection: str,
    watermark: str | None = None,
    overlap: Overlap = None,
    columns: Sequence[str] = (),
    fields: Mapping[str, str] | None = None,
) -> MongoSource:
    """Declare a collection of MongoDB as a source; needs ``pip install "loopwright[mongo]"``.

    Each document is a row. An ``ObjectId`` becomes text, a decimal exact text, a date a timestamp in UTC; what is an
    object or a list becomes its JSON text. Documents need not have the same fields.

    Args:
        url: ``mongodb://…``, or the name of a connection in the settings (``[sources] shop = "mongodb://…"``).
        database: The database.
        collection: The collection.
        watermark: A field that grows with each insert and update, such as ``updated_at``; or ``_id``, where documents
            are only inserted. Without it each ingest reads the whole collection, and adds it where it has changed.
            Documents without the field are not read.
        overlap: How far before the largest value each read begins, as for ``sql``; for an ``ObjectId`` a duration too.
        columns: The fields to read; all by default.
        fields: Columns for what lies inside a document, such as ``{"city": "address.city"}``.

    Raises:
        DeclarationError: If the names are empty or the overlap is no overlap.

    >>> mongo("mongodb://ann:pa55@db", database="shop", collection="orders").describe()["url"]
    'mongodb://ann:***@db'
    """
    for name, value in (("url", url), ("database", database), ("collection", collection)):
        if not isinstance(value, str) or not value:
            raise DeclarationError(f"mongo() takes {name} as a text, got {value!r}.")
    if overlap is not None and watermark is None:
        raise DeclarationError("mongo() has overlap= and no watermark= that it could be taken from.")
    check_overlap(overlap)
    wanted = dict.fromkeys(columns)
    if wanted and watermark is not None:
        wanted[watermark] = None
    return MongoSource(url, database, collection, watermark, overlap, tuple(wanted), tuple((fields or {}).items()))
