"""A plan for colder storage: what moving or packing the store's objects would save, and what the move itself costs.

Nothing is moved here. Per object, not per GB: a transition is billed by the object and cold classes bill small objects
as larger ones, so that the same rule saves on files of 100 MB and loses on files of 100 KB. What the newest version of
a table has is hot, whatever its age, since every turn reads it; other objects are cold when nobody wrote them for a
while.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import obstore
from obstore.store import LocalStore, from_url

from loopwright.core.prices.object_storage import DAYS_PER_MONTH, GB, StorageClass, storage_classes
from loopwright.core.storage.location import Location
from loopwright.core.storage.table_log import TableLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.core.storage.stores import Stores

SHARD_BYTES = 128_000_000
COLD_AFTER = timedelta(days=30)
HORIZON_MONTHS = 12.0

Advice = Literal["move", "pack and move", "leave"]


@dataclass(frozen=True)
class StoredGroup:
    """Objects below one prefix.

    Attributes:
        prefix: Where they lie, below the store's place.
        objects: How many there are.
        size_bytes: Their bytes.
        cold: The sizes of those that no newest version has and nobody wrote for a while.
        may_be_packed: Whether their content may be put together into larger objects.
    """

    prefix: str
    objects: int
    size_bytes: int
    cold: tuple[int, ...]
    may_be_packed: bool

    @property
    def cold_bytes(self) -> int:
        """The bytes of the cold objects."""
        return sum(self.cold)


@dataclass(frozen=True)
class TieringOption:
    """What moving the cold objects of a group to one class means.

    Attributes:
        prefix: The group.
        storage_class: The class.
        packed: Whether they are packed into objects of 128 MB first.
        objects: How many are moved.
        move_usd: What the move costs, once: writing the packed objects, and the transitions.
        saved_usd_per_month: What storing them costs less; below 0 it costs more.
        break_even_months: When the move has paid for itself; None for never.
        net_usd: Saved within the horizon, less the move and, where the horizon is shorter than the class's minimum, the
            fee for leaving early.
    """

    prefix: str
    storage_class: str
    packed: bool
    objects: int
    move_usd: float
    saved_usd_per_month: float
    break_even_months: float | None
    net_usd: float


@dataclass(frozen=True)
class GroupPlan:
    """One group, every option for it, and the best: the one that saves most within the horizon, or to leave it."""

    prefix: str
    objects: int
    size_bytes: int
    cold_objects: int
    cold_bytes: int
    usd_per_month: float
    options: tuple[TieringOption, ...]
    advice: Advice
    best: TieringOption | None
    why: str


@dataclass(frozen=True)
class TieringPlan:
    """The whole plan, with where its prices are from."""

    provider: str
    region: str
    prices_as_of: str
    source: str
    cold_after_days: float
    horizon_months: float
    usd_per_month: float
    saved_usd_per_month: float
    move_usd: float
    groups: tuple[GroupPlan, ...]


def stored_groups(stores: Stores, *, cold_after: timedelta = COLD_AFTER) -> list[StoredGroup]:
    """List the store: each table, blobs and packed payloads, and the trash."""
    place = Location.parse(stores.settings.store_url)
    store = LocalStore(prefix=place.folder) if place.folder is not None else from_url(place.url)
    hot: set[str] = set()
    for table in stores.tables.tables():
        log = TableLog(stores.tables.location.child(table))
        hot.update(f"tables/{table}/{name}" for name in log.current())
    shards = {f"blobs/{digest[:2]}/{digest[2:]}" for digest in stores.payloads.shards()}
    before = stores.clock.now() - cold_after
    sizes: dict[str, list[int]] = {}
    cold: dict[str, list[int]] = {}
    for batch in obstore.list(store):
        for meta in batch:
            path, size = str(meta["path"]), int(meta["size"])
            prefix = _prefix(path, shards)
            sizes.setdefault(prefix, []).append(size)
            if meta["last_modified"] < before and path not in hot and "/_delta_log/" not in path:
                cold.setdefault(prefix, []).append(size)
    return [
        StoredGroup(prefix, len(found), sum(found), tuple(sorted(cold.get(prefix, ()))), prefix.startswith("tables/"))
        for prefix, found in sorted(sizes.items())
    ]


def plan_tiering(
    groups: Sequence[StoredGroup],
    provider: str,
    *,
    cold_after: timedelta = COLD_AFTER,
    horizon_months: float = HORIZON_MONTHS,
    reads_at_once: bool = True,
) -> TieringPlan:
    """Work out what each class would mean for each group.

    Args:
        groups: What is stored.
        provider: Whose prices: ``aws``, ``gcp`` or ``azure``.
        cold_after: The age from which the rule moves objects.
        horizon_months: How long the objects stay from now on: what a move may pay for itself in.
        reads_at_once: Leave out classes from which an object must be asked for hours before it is read.
    """
    hot, *others = storage_classes(provider)
    colder = [one for one in others if one.reads_at_once or not reads_at_once]
    planned = [_plan_group(group, hot, colder, horizon_months) for group in groups]
    chosen = [one.best for one in planned if one.best is not None]
    return TieringPlan(
        provider=provider,
        region=hot.region,
        prices_as_of=min(one.as_of for one in (hot, *colder)).isoformat(),
        source=hot.source,
        cold_after_days=cold_after / timedelta(days=1),
        horizon_months=horizon_months,
        usd_per_month=sum(one.usd_per_month for one in planned),
        saved_usd_per_month=sum(one.saved_usd_per_month for one in chosen),
        move_usd=sum(one.move_usd for one in chosen),
        groups=tuple(planned),
    )


def option_of(
    group: StoredGroup, hot: StorageClass, cold: StorageClass, horizon_months: float, *, packed: bool
) -> TieringOption:
    """Work out one option for one group."""
    sizes = list(group.cold)
    writes = 0
    if packed:
        count, rest = divmod(group.cold_bytes, SHARD_BYTES)
        sizes = [SHARD_BYTES] * count + ([rest] if rest else [])
        writes = len(sizes)
    now = sum(hot.usd_per_month(size) for size in group.cold)
    then = sum(cold.usd_per_month(size) for size in sizes)
    move = (writes * hot.usd_per_1k_writes + len(sizes) * cold.usd_per_1k_transitions) / 1000
    early_months = max(0.0, cold.min_days / DAYS_PER_MONTH - horizon_months)
    net = (now - then) * horizon_months - move - early_months * then
    return TieringOption(
        prefix=group.prefix,
        storage_class=cold.api_name,
        packed=packed,
        objects=len(sizes),
        move_usd=move,
        saved_usd_per_month=now - then,
        break_even_months=move / (now - then) if now > then else None,
        net_usd=net,
    )


def _plan_group(
    group: StoredGroup, hot: StorageClass, colder: Sequence[StorageClass], horizon_months: float
) -> GroupPlan:
    options = [option_of(group, hot, one, horizon_months, packed=False) for one in colder] if group.cold else []
    average = group.cold_bytes / len(group.cold) if group.cold else 0
    if group.may_be_packed and group.cold and average < SHARD_BYTES / 2:
        options += [option_of(group, hot, one, horizon_months, packed=True) for one in colder]
    best = max(options, key=lambda one: one.net_usd, default=None)
    advice: Advice = "leave"
    if best is None:
        why = "nothing in it is cold"
    elif best.net_usd <= 0:
        why = (
            f"moving {len(group.cold):,} objects of {average / 1000:,.0f} KB costs more than it saves in "
            f"{horizon_months:g} months"
        )
        best = None
    else:
        advice = "pack and move" if best.packed else "move"
        why = f"pays for itself after {best.break_even_months or 0:.1f} months"
    stored = group.size_bytes / GB * hot.usd_per_gb_month
    return GroupPlan(
        group.prefix,
        group.objects,
        group.size_bytes,
        len(group.cold),
        group.cold_bytes,
        stored,
        tuple(options),
        advice,
        best,
        why,
    )


def _prefix(path: str, shards: set[str]) -> str:
    if path in shards:
        return "blobs/ (packed payloads)"
    first, _, rest = path.partition("/")
    if first == "tables":
        kind, _, name = rest.partition("/")
        return f"tables/{kind}/{name.partition('/')[0]}/"
    return f"{first}/"
