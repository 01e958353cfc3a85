"""Looks up the values of views for the rows of a request: all views in one call to the online store.

What found nothing, or only a row past its time to live, is told apart and counted, so that the monitor can say how
often a model answers without its features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from loopwright.core.errors import FeatureError
from loopwright.features.online import KeyLookup, OnlineRow, OnlineStore, entity_key, oldest_us

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from loopwright.features.columns import Array
    from loopwright.features.field import Field


@dataclass(frozen=True)
class ViewLookup:
    """A view whose values come from the online store."""

    name: str
    version: str
    entity: tuple[str, ...]
    ttl: timedelta | None
    fields: tuple[Field, ...]

    @property
    def key(self) -> str:
        """The view's name in the online store."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class LookupResult:
    """What a lookup of one view gave.

    Attributes:
        view: The view's name.
        rows: How many rows asked.
        missing: The places of the rows for which there was nothing.
        expired: The places of those for which there was only a row past its time to live.
    """

    view: str
    rows: int
    missing: tuple[int, ...] = ()
    expired: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundRows:
    """The row of each request row in one view, None where none counts, and what there was to find."""

    rows: list[OnlineRow | None]
    result: LookupResult


def look_up(
    views: Sequence[ViewLookup],
    raw: Mapping[str, Array | list[bytes | None]],
    rows: int,
    online: OnlineStore | None,
    now: datetime | None,
) -> list[FoundRows]:
    """Return what each view has for the rows of a request, whose fields are ``raw``.

    Raises:
        FeatureError: If there is no online store, or it answers otherwise than it was asked.
    """
    if online is None or now is None:
        raise FeatureError(
            f"The model uses the feature view '{views[0].name}', whose values are in the online store, and none was "
            f"given.",
            hint="Pass online= and now=, and fill the store with materialize.",
        )
    keys: dict[tuple[str, ...], list[str]] = {}
    for view in views:
        if view.entity not in keys:
            entity = [cast("Array", raw[name]).tolist() for name in view.entity]
            everywhere = [entity_key(())] * rows
            keys[view.entity] = [entity_key(one) for one in zip(*entity, strict=True)] if entity else everywhere
    asked = [KeyLookup(view.key, keys[view.entity]) for view in views]
    answered = online.read_views(asked, now=now)
    return [_judged(view, found, rows, now) for view, found in zip(views, answered, strict=True)]


def _judged(view: ViewLookup, found: list[OnlineRow | None], rows: int, now: datetime) -> FoundRows:
    """Leave out what is past its time to live; here, and not in the store, so that it can be told from nothing."""
    if len(found) != rows:
        raise FeatureError(f"The online store answered {len(found)} of {rows} keys of '{view.key}'.")
    missing = tuple(place for place, row in enumerate(found) if row is None) if None in found else ()
    expired: tuple[int, ...] = ()
    if view.ttl is not None:
        oldest = oldest_us(now, view.ttl)
        expired = tuple(place for place, row in enumerate(found) if row is not None and row.event_us <= oldest)
        for place in expired:
            found[place] = None
    return FoundRows(found, LookupResult(view.name, rows, missing, expired))
