"""The table of prices: machines by cloud and region, commitments, and the units of managed services.

The figures stand in three files beside this one, each row with its source and its day; another folder with files of
the same form takes their place. The classes of object storage have their own table, which the lake reads too:
:mod:`loopwright.core.prices.object_storage`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from loopwright.core.errors import DeclarationError, UnknownNameError
from loopwright.planning.cost import HOURS_PER_MONTH, Price
from loopwright.planning.prices.instance import Architecture, Instance
from loopwright.planning.prices.rows import COLUMNS, SHIPPED, Rows, findings_of, read_rows, refuse
from loopwright.planning.prices.sanity import Row, doubts, number_of, staleness
from loopwright.planning.prices.spread import deviation_of, deviation_of_zones, spread_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path

    from loopwright.planning.prices.sanity import Finding

_AVERAGE_1Y_DEVIATION = 0.10
_AVERAGE_3Y_DEVIATION = 0.20
"""What an average discount may be off by for one family: measured ones gave 31 to 37 % for a year where the average
says 30, and 50 to 65 % for three years where it says 50."""

_BORROWED_DEVIATION = 0.5


@dataclass(frozen=True)
class Tier:
    """One step of a price that falls with the quantity: from this quantity in a month on, this price."""

    from_quantity: float
    price: Price
    note: str = ""


@dataclass(frozen=True)
class PriceTable:
    """Prices that were read and found usable.

    Attributes:
        today: The day that ages are counted to.
        files: The three tables as they were read.
        machines: Every type in every region.
        units: The tiers of each unit, by provider, service and tier.
        doubtful: Rows that are used but deserve a look.
        stale: A sentence about prices that are old; None where all are new.
    """

    today: date
    files: tuple[Rows, ...]
    machines: tuple[Instance, ...]
    units: dict[tuple[str, str, str], tuple[Tier, ...]]
    doubtful: tuple[Finding, ...]
    stale: str | None

    @classmethod
    def load(cls, folder: Path | None = None, *, today: date) -> PriceTable:
        """Read a table; the shipped one by default.

        Args:
            folder: With ``instances.csv``, ``units.csv`` and ``commitments.csv``; a missing one is the shipped one.
            today: The day that ages are counted to.

        Raises:
            DeclarationError: If a file cannot be read or a row breaks a rule: one message, with file, line, column
                and value.
        """
        place = SHIPPED if folder is None else folder
        if not any((place / name).is_file() for name in COLUMNS):
            raise DeclarationError(
                f"The folder {place} has no price table.", hint=f"Put {', '.join(COLUMNS)} there, or some of them."
            )
        files = []
        for name in COLUMNS:
            path = place / name
            files.append(read_rows(path if path.exists() else SHIPPED / name, name))
        refuse(place, [one for table in files for one in findings_of(table)])
        return cls.of(files, today=today)

    @classmethod
    def of(cls, files: Sequence[Rows], *, today: date) -> PriceTable:
        """Make a table of rows that keep the rules."""
        by_name = {one.file: one for one in files}
        units = _units(by_name["units.csv"], today)
        commitments = by_name["commitments.csv"].by_key()
        rows = by_name["instances.csv"]
        machines = tuple(_instance(row, commitments, units, today) for row in rows.rows)
        days = [row.get("as_of") or "" for one in files for row in one.rows]
        found = doubts(machines, rows.lines)
        return cls(today, tuple(files), machines, units, tuple(found), staleness(days, today))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Everything that a person should know before trusting the table, in words."""
        return (*([self.stale] if self.stale else []), *(str(one) for one in self.doubtful))

    def providers(self) -> tuple[str, ...]:
        """Return the clouds that have machines."""
        return tuple(dict.fromkeys(one.provider for one in self.machines))

    def regions(self, provider: str) -> tuple[str, ...]:
        """Return the regions of a cloud, the one with most types first.

        Raises:
            UnknownNameError: If there is no such cloud.
        """
        counts: dict[str, int] = {}
        for one in self.machines:
            if one.provider == provider:
                counts[one.region] = counts.get(one.region, 0) + 1
        if not counts:
            raise UnknownNameError("cloud with prices", provider, self.providers())
        return tuple(sorted(counts, key=lambda name: (-counts[name], name)))

    def instances(
        self, providers: Sequence[str] | None = None, regions: Sequence[str] | None = None
    ) -> tuple[Instance, ...]:
        """Return the machines of some clouds and regions; all by default.

        A cloud that has none of the named regions is left out; a region that no named cloud has is an error.

        Raises:
            UnknownNameError: If a cloud or a region has no prices.
        """
        clouds = self.providers() if providers is None else tuple(providers)
        known = {cloud: set(self.regions(cloud)) for cloud in clouds}
        every = set().union(*known.values())
        for region in regions or ():
            if region not in every:
                raise UnknownNameError("region with prices", region, every, where=f"in {', '.join(clouds)}")
        return tuple(
            one for one in self.machines if one.provider in known and (regions is None or one.region in regions)
        )

    def instance(self, provider: str, region: str, instance_type: str) -> Instance:
        """Return one machine.

        Raises:
            UnknownNameError: If it has no price there.
        """
        found = self.instances([provider], [region])
        for one in found:
            if one.type == instance_type:
                return one
        raise UnknownNameError(
            "machine type with a price", instance_type, (one.type for one in found), where=f"in {provider} {region}"
        )

    def has(self, provider: str, service: str, tier: str) -> bool:
        """Return whether there is such a price."""
        return (provider, service, tier) in self.units

    def tiers(self, provider: str, service: str, tier: str) -> tuple[Tier, ...]:
        """Return the steps of a price, by quantity.

        Raises:
            UnknownNameError: If there is no such cloud, service or tier.
        """
        found = self.units.get((provider, service, tier))
        if found is not None:
            return found
        for position, (kind, name) in enumerate((("cloud", provider), ("service", service), ("tier", tier))):
            here = (provider, service, tier)[:position]
            known = {key[position] for key in self.units if key[:position] == here}
            if name not in known:
                where = f"of {' '.join(here)}" if here else ""
                raise UnknownNameError(f"{kind} with prices", name, known, where=where)
        raise AssertionError((provider, service, tier))

    def unit(self, provider: str, service: str, tier: str) -> Price:
        """Return what one unit costs; the first step that is not free where the price falls with the quantity.

        Raises:
            UnknownNameError: If there is no such price.
        """
        steps = self.tiers(provider, service, tier)
        return next((step.price for step in steps if step.price.usd > 0), steps[0].price)

    def unit_or_nearest(self, provider: str, service: str, tier: str) -> Price:
        """Return what one unit costs, or else what it costs at the dearest of the other clouds, said in its source.

        Raises:
            UnknownNameError: If no cloud has such a price.
        """
        if self.has(provider, service, tier):
            return self.unit(provider, service, tier)
        others = {key[0]: self.unit(*key) for key in self.units if key[1:] == (service, tier)}
        if not others:
            raise UnknownNameError("price", f"{service} {tier}", {f"{key[1]} {key[2]}" for key in self.units})
        name, price = max(others.items(), key=lambda item: (item[1].usd, item[0]))
        source = f"no price on record for {provider}; the dearest of the others, {name}: {price.source}"
        return dataclasses.replace(price, source=source, spread=_BORROWED_DEVIATION)


def _units(table: Rows, today: date) -> dict[tuple[str, str, str], tuple[Tier, ...]]:
    found: dict[tuple[str, str, str], list[Tier]] = {}
    for row in table.rows:
        spread = deviation_of(spread_of(row.get("as_of") or "", today))
        price = Price(number_of(row, "usd") or 0.0, row["unit"], row["source"], row.get("as_of") or "", spread)
        key = (row["provider"], row["service"], row["tier"])
        found.setdefault(key, []).append(Tier(number_of(row, "from_quantity") or 0.0, price, row.get("note") or ""))
    return {key: tuple(sorted(steps, key=lambda step: step.from_quantity)) for key, steps in found.items()}


def _instance(
    row: Row,
    commitments: dict[tuple[str, ...], Row],
    units: dict[tuple[str, str, str], tuple[Tier, ...]],
    today: date,
) -> Instance:
    def price(usd: float, source: str, as_of: str, *deviations: float) -> Price:
        own = deviation_of(spread_of(as_of, today, is_gpu=count > 0))
        return Price(usd, "hour", source, as_of, sum(one**2 for one in (own, *deviations)) ** 0.5)

    count = number_of(row, "accelerators") or 0.0
    hour = number_of(row, "on_demand_usd_per_hour") or 0.0
    spot_usd = number_of(row, "spot_usd_per_hour")
    low, high = number_of(row, "spot_low_usd_per_hour"), number_of(row, "spot_high_usd_per_hour")
    source, as_of = row["source"], row.get("as_of") or ""
    spot = None
    if spot_usd is not None:
        zones = deviation_of_zones(low, high)
        spot = price(spot_usd, row.get("spot_source") or source, row.get("spot_as_of") or "", zones)
    held = commitments.get((row["provider"], row["region"], row["type"]))

    def committed(column: str, tier: str, deviation: float) -> Price | None:
        if held is not None:
            month = number_of(held, column)
            return None if month is None else price(month / HOURS_PER_MONTH, held["source"], held.get("as_of") or "")
        steps = units.get((row["provider"], "commitment_discount", tier))
        if steps is None:
            return None
        said = f"{steps[0].price.usd:.0%} off on demand, an average over families: {steps[0].price.source}"
        return price(hour * (1 - steps[0].price.usd), said, steps[0].price.as_of, deviation)

    full = number_of(held, "full_month_usd") if held is not None else None
    return Instance(
        provider=row["provider"],
        region=row["region"],
        type=row["type"],
        vcpus=number_of(row, "vcpus") or 0.0,
        memory_gib=number_of(row, "memory_gib") or 0.0,
        architecture=cast("Architecture", row["architecture"]),
        accelerator=row.get("accelerator") or "",
        accelerators=count,
        accelerator_memory_gib=number_of(row, "accelerator_memory_gib") or 0.0,
        on_demand=price(hour, source, as_of),
        spot=spot,
        spot_low=low,
        spot_high=high,
        commit_1y=committed("commit_1y_usd_per_month", "commit_1y", _AVERAGE_1Y_DEVIATION),
        commit_3y=committed("commit_3y_usd_per_month", "commit_3y", _AVERAGE_3Y_DEVIATION),
        full_month=None if held is None or full is None else price(full, held["source"], held.get("as_of") or ""),
        is_burstable=row.get("burstable") == "yes",
        note=row.get("note") or "",
    )
