"""Feature views: named relational transformations, keyed by entity and event time.

A view is a pure function of datasets: it takes one Ibis table per dataset (all declared columns and the system columns)
and returns an Ibis table with its entity columns, its event-time column and one column per feature. Nothing here
imports Ibis: a declaration is light.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from loopwright.core.durations import parse_duration
from loopwright.core.errors import DeclarationError, FeatureError
from loopwright.core.hashing import digest_function, digest_json, source_of
from loopwright.core.ref import Ref

if TYPE_CHECKING:
    from collections.abc import Callable

    import ibis

    from loopwright.data.dataset import Dataset


@dataclass(frozen=True, eq=False)
class FeatureView:
    """A named transformation from datasets to features.

    Attributes:
        name: Unique in a project.
        sources: The datasets, in the order of the function's arguments.
        function: Ibis tables in, one Ibis table out.
        entity: The key columns that an example is matched on.
        event_time: The column with the moment a row speaks of.
        ttl: A row older than this at the example's moment does not count; None for no limit.
        description: The first line of the function's docstring, unless given.
    """

    name: str
    sources: tuple[Dataset, ...]
    function: Callable[..., ibis.Table] = field(repr=False)
    entity: tuple[str, ...]
    event_time: str
    ttl: timedelta | None = None
    description: str = ""

    @cached_property
    def version(self) -> str:
        """A digest of what the view computes: 16 hexadecimal digits, another one as soon as the definition differs."""
        parts = [
            self.name,
            [source.name for source in self.sources],
            [getattr(source, "arrival_time", None) for source in self.sources],
            digest_function(self.function),
            list(self.entity),
            self.event_time,
            None if self.ttl is None else self.ttl.total_seconds(),
        ]
        return digest_json(parts)[:16]

    @property
    def ref(self) -> Ref:
        """The view's name in the lineage."""
        return Ref("view", f"{self.name}@{self.version}")

    @property
    def source_code(self) -> str:
        """The function as its author wrote it."""
        return source_of(self.function)


def feature_view(
    function: Callable[..., ibis.Table],
    *sources: Dataset,
    entity: str | tuple[str, ...] | list[str],
    event_time: str | None = None,
    ttl: str | float | timedelta | None = None,
    name: str | None = None,
    description: str | None = None,
) -> FeatureView:
    """Declare a feature view; ``@loop.features(...)`` is this as a decorator.

    Args:
        function: Takes one Ibis table per source, in order, and returns an Ibis table.
        sources: The datasets it reads.
        entity: The key column, or several.
        event_time: The event-time column of the result; by default that of the first source.
        ttl: How long a row counts; ``"7d"``, seconds, a timedelta, or None for ever.
        name: By default the function's name.
        description: By default the first line of the function's docstring.

    Raises:
        FeatureError: If there is no source, no entity, or no event time.
    """
    chosen = name or getattr(function, "__name__", "") or "view"
    if not sources:
        raise FeatureError(
            f"The feature view '{chosen}' reads no dataset.",
            hint="Name at least one: @loop.features(orders, entity=…).",
        )
    keys = (entity,) if isinstance(entity, str) else tuple(entity)
    if not keys or not all(isinstance(key, str) and key for key in keys):
        raise FeatureError(
            f"The feature view '{chosen}' has no entity.", hint="Name the key column: entity='courier_id'."
        )
    moment = event_time or sources[0].event_time
    if not moment:
        raise FeatureError(
            f"The feature view '{chosen}' has no event time, and neither has the dataset '{sources[0].name}'.",
            hint="Give event_time= to the view or to the dataset.",
        )
    try:
        lifetime = None if ttl is None else parse_duration(ttl)
    except DeclarationError as error:
        raise FeatureError(f"The feature view '{chosen}', ttl: {error.message}", hint=error.hint) from error
    if lifetime is not None and lifetime <= timedelta(0):
        raise FeatureError(
            f"The feature view '{chosen}' has the ttl {ttl!r}, so that no row would ever count.",
            hint="Give a positive one.",
        )
    return FeatureView(chosen, sources, function, keys, moment, lifetime, description or first_line(function))


def first_line(function: Callable[..., object]) -> str:
    """Return the first line of a function's docstring, or nothing."""
    text = (function.__doc__ or "").strip()
    return text.splitlines()[0].strip() if text else ""
