"""Feature views: named relational transformations, keyed by entity and event time.

A view is a pure function of datasets: it takes one Ibis table per dataset (all declared columns and the system columns)
and returns an Ibis table with its entity columns, its event-time column and one column per feature. Nothing here
imports Ibis: a declaration is light.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from loopwright.core.durations import parse_duration
from loopwright.core.errors import DeclarationError, FeatureError
from loopwright.core.hashing import digest_function, digest_json, source_of
from loopwright.core.ref import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import ibis

    from loopwright.data.dataset import Dataset


@dataclass(frozen=True, eq=False)
class FeatureView:
    """A named transformation from datasets to features.

    Attributes:
        name: Unique in a project.
        sources: The datasets, and other views, in the order of the function's arguments.
        function: Ibis tables in, one Ibis table out.
        entity: The key columns that an example is matched on; none for what is the same for all, joined by time only.
        event_time: The column with the moment a row speaks of.
        ttl: A row older than this at the example's moment does not count; None for no limit.
        description: The first line of the function's docstring, unless given.
        on: The examples' columns that equal ``entity``, in the same order; of the same names unless given.
        owner: Who answers for it.
        tags: Words to find it by.
        fresh: How old its newest row may be, for ``features freshness``; None where nobody minds.
        looks_ahead: Whether it may take in rows later than its own; each row then counts only once all of them are
            known.
    """

    name: str
    sources: tuple[Dataset | FeatureView, ...]
    function: Callable[..., ibis.Table] = field(repr=False)
    entity: tuple[str, ...]
    event_time: str
    ttl: timedelta | None = None
    description: str = ""
    on: tuple[str, ...] = ()
    owner: str = ""
    tags: tuple[str, ...] = ()
    fresh: timedelta | None = None
    looks_ahead: bool = False

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
        if self.views:
            parts.append([parent.version for parent in self.views])
        return digest_json(parts)[:16]

    @property
    def views(self) -> tuple[FeatureView, ...]:
        """The views that it reads itself."""
        return tuple(source for source in self.sources if isinstance(source, FeatureView))

    @cached_property
    def datasets(self) -> tuple[Dataset, ...]:
        """The datasets that it reads, itself or through other views, each once."""
        found: dict[str, Dataset] = {}
        for source in self.sources:
            for dataset in source.datasets if isinstance(source, FeatureView) else (source,):
                found.setdefault(dataset.name, dataset)
        return tuple(found.values())

    @property
    def matched_on(self) -> tuple[str, ...]:
        """The examples' columns that equal the entity, in its order."""
        return self.on or self.entity

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
    *sources: Dataset | FeatureView,
    entity: str | Iterable[str] | Mapping[str, str] | None = None,
    event_time: str | None = None,
    ttl: str | float | timedelta | None = None,
    name: str | None = None,
    description: str | None = None,
    owner: str = "",
    tags: Iterable[str] = (),
    fresh: str | float | timedelta | None = None,
    looks_ahead: bool = False,
) -> FeatureView:
    """Declare a feature view; ``@loop.features(...)`` is this as a decorator.

    Args:
        function: Takes one Ibis table per source, in order, and returns an Ibis table.
        sources: The datasets and other views that it reads.
        entity: The key column, or several; ``{"courier": "courier_id"}`` where the view's column ``courier`` equals the
            examples' column ``courier_id``; nothing for what is the same for all and joined by time only.
        event_time: The event-time column of the result; by default that of the first source.
        ttl: How long a row counts; ``"7d"``, seconds, a timedelta, or None for ever.
        name: By default the function's name.
        description: By default the first line of the function's docstring.
        owner: Who answers for it.
        tags: Words to find it by.
        fresh: How old its newest row may be.
        looks_ahead: Allow windows and aggregates that take in later rows than their own.

    Raises:
        FeatureError: If there is no source, an entity is no name, there is no event time, or a time span cannot be
            used.
    """
    chosen = name or getattr(function, "__name__", "") or "view"
    if not sources:
        raise FeatureError(
            f"The feature view '{chosen}' reads no dataset.",
            hint="Name at least one: @loop.features(orders, entity=…).",
        )
    keys, on = _entity_of(chosen, entity)
    moment = event_time or sources[0].event_time
    if not moment:
        raise FeatureError(
            f"The feature view '{chosen}' has no event time, and neither has '{sources[0].name}'.",
            hint="Give event_time= to the view or to the dataset.",
        )
    if moment in keys:
        raise FeatureError(f"The column '{moment}' of the feature view '{chosen}' is its entity and its event time.")
    lifetime, target = _span(chosen, "ttl", ttl), _span(chosen, "fresh", fresh)
    labels = (tags,) if isinstance(tags, str) else tuple(tags)
    return FeatureView(
        chosen,
        sources,
        function,
        keys,
        moment,
        lifetime,
        description or first_line(function),
        on,
        owner,
        labels,
        target,
        looks_ahead,
    )


def _entity_of(
    view: str, entity: str | Iterable[str] | Mapping[str, str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the view's key columns, and the examples' columns where these are named differently."""
    if isinstance(entity, Mapping):
        keys, on = tuple(entity), tuple(entity.values())
    else:
        keys, on = () if entity is None else (entity,) if isinstance(entity, str) else tuple(entity), ()
    if not all(isinstance(key, str) and key for key in (*keys, *on)):
        raise FeatureError(
            f"The feature view '{view}' has the entity {entity!r}, which names no column.",
            hint="Name the key column: entity='courier_id'; leave it out for a view that is joined by time only.",
        )
    if len(set(keys)) < len(keys):
        raise FeatureError(f"The feature view '{view}' names a key column twice: {', '.join(keys)}.")
    return keys, () if on == keys else on


def _span(view: str, what: str, value: str | float | timedelta | None) -> timedelta | None:
    try:
        span = None if value is None else parse_duration(value)
    except DeclarationError as error:
        raise FeatureError(f"The feature view '{view}', {what}: {error.message}", hint=error.hint) from error
    if span is not None and span <= timedelta(0):
        so = "so that no row would ever count" if what == "ttl" else "which no row could meet"
        raise FeatureError(f"The feature view '{view}' has the {what} {value!r}, {so}.", hint="Give a positive one.")
    return span


def first_line(function: Callable[..., object]) -> str:
    """Return the first line of a function's docstring, or nothing."""
    text = (function.__doc__ or "").strip()
    return text.splitlines()[0].strip() if text else ""
