"""What keeping data costs, object by object: storing, writing, moving to a colder class, reading back, leaving early.

A transition is billed by the object and cold classes bill small objects as larger ones, so that the rule which saves on
large files loses money on small ones. For ``n`` objects a day of ``g`` GB, kept through classes ``i`` from day ``d_i``
to ``d_(i+1)``, a month of ``D`` = 30.4167 days costs, in steady state::

    put n D / 1000 + sum n (d_(i+1) - d_i) max(g, minimum_i) price_i + sum n D transition_i / 1000
        + retrieval + early leaving: n max(0, minimum_days_i - stay_i) max(g, minimum_i) price_i
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

from loopwright.core.prices.object_storage import StorageClass, break_even_months, storage_classes
from loopwright.planning.cost import DAYS_PER_MONTH, GB, CostLine, Price
from loopwright.planning.option import Option
from loopwright.planning.prices.spread import deviation_of, spread_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from loopwright.planning.stored_data import StoredData

SHARD_BYTES = 128_000_000
SMALLEST_STAY_BEFORE_MOVING_DAYS = 30.0
"""Lifecycle rules move objects into the infrequent classes after 30 days at the earliest."""

Steps = tuple[tuple[float, StorageClass], ...]


def storage_lines(data: StoredData, steps: Steps, *, today: date) -> tuple[CostLine, ...]:
    """Return what a month of one kind of data costs.

    Args:
        data: What is stored.
        steps: The classes, each with the day of an object's life from which it lies there; the first from day 0.
        today: The day that the ages of prices are counted to.
    """
    a_month = data.objects_per_day * DAYS_PER_MONTH
    drivers = data.count_drivers
    first = steps[0][1]
    writes = _price(first.usd_per_1k_writes, "1k requests", first, today)
    named = f"{data.kind} "
    lines = [
        CostLine("storage", f"{named}writes", a_month / 1000, writes, f"{a_month:,.0f} objects", drivers),
    ]
    if data.hot_reads > 0:
        reads = _price(first.usd_per_1k_reads, "1k requests", first, today)
        quantity = a_month * data.hot_reads / 1000
        lines.append(CostLine("storage", f"{named}reads", quantity, reads, "", drivers))
    ends = [later for later, _ in steps[1:]] + [data.priced_days]
    for (start, one), end in zip(steps, ends, strict=True):
        stay = max(0.0, end - start)
        billed = one.billed_bytes(data.object_bytes) / GB
        billed_by = data.byte_drivers if data.object_bytes >= one.min_object_bytes else data.count_drivers
        store = _price(one.usd_per_gb_month, "GB-month", one, today)
        note = f"{data.objects_per_day * stay:,.0f} objects of {data.object_bytes / 1000:,.0f} kB"
        if billed > 1.01 * data.object_bytes / GB:
            note += f", each billed as {billed * 1e6:,.0f} kB"
        quantity = data.objects_per_day * stay * billed
        lines.append(CostLine("storage", f"{named}in {one.name}", quantity, store, note, billed_by))
        if one is first:
            continue
        move = _price(one.usd_per_1k_transitions, "1k requests", one, today)
        note = "billed by the object"
        lines.append(CostLine("storage", f"{named}moves into {one.name}", a_month / 1000, move, note, drivers))
        early = max(0.0, one.min_days - stay)
        if early > 0:
            note = f"billed for {one.min_days} days, there for {stay:g}"
            quantity = data.objects_per_day * early * billed
            lines.append(CostLine("storage", f"{named}leaving {one.name} early", quantity, store, note, billed_by))
        read = data.cold_read_share * data.objects_per_day * stay
        if read > 0:
            back = _price(one.usd_per_gb_retrieval, "GB", one, today)
            quantity = read * data.object_bytes / GB
            lines.append(
                CostLine("storage", f"{named}read back from {one.name}", quantity, back, "", data.byte_drivers)
            )
            gets = _price(one.usd_per_1k_reads, "1k requests", one, today)
            lines.append(CostLine("storage", f"{named}reads from {one.name}", read / 1000, gets, "", drivers))
    return tuple(line for line in lines if line.quantity > 0)


def storage_options(data: StoredData, provider: str, *, today: date) -> tuple[Option, ...]:
    """Return every way to keep one kind of data, the cheapest first.

    As it comes; moved to a colder class; packed into shards of 128 MB, and moved; encoded more densely; let go where
    nothing needs it any more. The last two change what is kept: ``keeps_everything`` of their settings is false.

    Raises:
        UnknownNameError: If the provider's storage has no prices.
    """
    hot, *others = storage_classes(provider, with_unverified=True)
    colder = [one for one in others if one.reads_at_once or not data.must_read_at_once]
    variants = list(_variants(data))
    found = [_option(form, name, settings, ((0.0, hot),), provider, today) for name, form, settings in variants]
    for (name, form, settings), one in itertools.product(variants, colder):
        start = max(form.hot_days, SMALLEST_STAY_BEFORE_MOVING_DAYS)
        if start < form.priced_days and settings["strategy"] != "expire":
            joined = f"to {one.name} after {start:g} days" if name == "keep" else f"{name}, then to {one.name}"
            found.append(_option(form, joined, settings, ((0.0, hot), (start, one)), provider, today))
    return tuple(sorted(found, key=lambda one: one.usd_per_month))


def cheapest(options: Sequence[Option]) -> Option:
    """Return the cheapest option that keeps everything as it was asked for."""
    return min(
        (one for one in options if one.settings["keeps_everything"]), key=lambda one: (one.usd_per_month, one.name)
    )


def storage_stage(data: Sequence[StoredData], provider: str, *, today: date) -> tuple[Option, ...]:
    """Return ways to keep all of the data, the cheapest first.

    Each kind in its own cheapest way; everything as it comes; everything by the usual rule, which moves what is older
    than 30 days to the class for infrequent reads without looking at the size of objects.

    Raises:
        UnknownNameError: If the provider's storage has no prices.
    """
    hot, cold, *_ = storage_classes(provider)
    as_it_comes, usual, best = [], [], []
    for one in data:
        options = storage_options(one, provider, today=today)
        best.append(cheapest(options))
        steps: Steps = ((0.0, hot),)
        as_it_comes.append(_option(one, "keep", {"strategy": "keep", "keeps_everything": True}, steps, provider, today))
        start = max(one.hot_days, SMALLEST_STAY_BEFORE_MOVING_DAYS)
        if start < one.priced_days:
            steps = (*steps, (start, cold))
        usual.append(_option(one, "move", {"strategy": "move", "keeps_everything": True}, steps, provider, today))
    ways = (
        ("each kind in its cheapest way", best),
        ("everything as it comes", as_it_comes),
        (f"everything to {cold.name} after 30 days", usual),
    )
    together = [_together(name, parts, provider, hot.region) for name, parts in ways]
    return tuple(sorted(together, key=lambda one: one.usd_per_month))


def _variants(data: StoredData) -> Iterator[tuple[str, StoredData, dict[str, float | str | bool]]]:
    yield "keep", data, {"strategy": "keep", "keeps_everything": True}
    if data.needed_days is not None and 0 < data.needed_days < data.priced_days:
        form = dataclasses.replace(data, kept_days=data.needed_days)
        settings: dict[str, float | str | bool] = {
            "strategy": "expire",
            "keeps_everything": False,
            "expire_days": data.needed_days,
        }
        yield f"let go after {data.needed_days:g} days", form, settings
    forms = [("", data, True)]
    if data.reencoded_share is not None and data.reencoded_share < 1:
        smaller = dataclasses.replace(data, object_bytes=data.object_bytes * data.reencoded_share)
        yield "encode anew", smaller, {"strategy": "encode", "keeps_everything": False}
        forms.append(("encode anew, ", smaller, False))
    for name, form, keeps in forms:
        if form.may_be_packed and 0 < form.object_bytes <= SHARD_BYTES / 2:
            count = form.objects_per_day * form.object_bytes / SHARD_BYTES
            packed = dataclasses.replace(form, objects_per_day=count, object_bytes=float(SHARD_BYTES), is_packed=True)
            shard_settings: dict[str, float | str | bool] = {
                "strategy": "pack" if keeps else "encode and pack",
                "keeps_everything": keeps,
                "shard_bytes": float(SHARD_BYTES),
            }
            yield f"{name}pack into shards of 128 MB", packed, shard_settings


def _option(
    data: StoredData,
    name: str,
    settings: dict[str, float | str | bool],
    steps: Steps,
    provider: str,
    today: date,
) -> Option:
    hot = steps[0][1]
    notes = []
    full: dict[str, float | str | bool] = {**settings, "kind": data.kind, "storage_class": steps[-1][1].api_name}
    for start, one in steps[1:]:
        full["after_days"] = start
        full["strategy"] = "move" if settings["strategy"] == "keep" else f"{settings['strategy']} and move"
        months = break_even_months(hot, one, data.object_bytes)
        notes.append(
            f"a move to {one.name} never pays for itself at {data.object_bytes / 1000:,.0f} kB an object"
            if months is None
            else f"a move to {one.name} pays for itself after {months:.3g} months"
        )
        if one.unverified:
            notes.append(f"prices of {one.name} that have no source: {one.unverified}")
    if data.kept_days > data.priced_days:
        notes.append("kept for ever: it grows without end; this is the month after three years")
    return Option(
        stage="storage",
        name=f"{data.kind}: {name}",
        provider=provider,
        region=hot.region,
        instance_type="",
        purchase="on_demand",
        packaging="serverless",
        count=0,
        settings=full,
        lines=storage_lines(data, steps, today=today),
        notes=tuple(notes),
    )


def _together(name: str, parts: Sequence[Option], provider: str, region: str) -> Option:
    settings: dict[str, float | str | bool] = {"keeps_everything": True}
    for part in parts:
        kind = part.settings["kind"]
        settings.update({f"{kind}_{key}": value for key, value in part.settings.items() if key != "kind"})
    return Option(
        stage="storage",
        name=name,
        provider=provider,
        region=region,
        instance_type="",
        purchase="on_demand",
        packaging="serverless",
        count=0,
        settings=settings,
        lines=tuple(line for part in parts for line in part.lines),
        notes=tuple(f"{part.name} ({part.notes[0]})" if part.notes else part.name for part in parts),
    )


def _price(usd: float, unit: str, one: StorageClass, today: date) -> Price:
    as_of = one.as_of.isoformat()
    return Price(usd, unit, one.source, as_of, deviation_of(spread_of(as_of, today)))
