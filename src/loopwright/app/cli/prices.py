"""``loopwright prices``: the price table that plans are made with, and one's own rows over it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from loopwright.app.cli.console import JSON_OPTION, console, print_json, table
from loopwright.core.clock import SystemClock
from loopwright.core.errors import UsageError
from loopwright.planning.plan_diff import signed_share
from loopwright.planning.prices.check import check_prices
from loopwright.planning.prices.diff import PriceChange, diff_prices
from loopwright.planning.prices.instance import Instance
from loopwright.planning.prices.merge import Take, merge_prices, write_prices
from loopwright.planning.prices.table import PriceTable
from loopwright.planning.wording import unit_price

app = typer.Typer(no_args_is_help=True)

PRICES_OPTION = typer.Option("--prices", help="A folder of price tables; the shipped ones by default.")
_REFUSED = 3
_SHOWN = 20


def load_prices(folder: Path | None) -> PriceTable:
    """Return the table of a folder, or the shipped one, as old as it is today."""
    return PriceTable.load(folder, today=SystemClock().now().date())


@app.command("list")
def list_prices(
    cloud: Annotated[str | None, typer.Option(help="One cloud: aws, gcp or azure.")] = None,
    region: Annotated[str | None, typer.Option(help="One region.")] = None,
    machine: Annotated[str | None, typer.Option("--type", help="Types whose name contains this.")] = None,
    services: Annotated[bool, typer.Option("--services", help="The units of services instead of machines.")] = False,
    prices: Annotated[Path | None, PRICES_OPTION] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """List machines with what an hour of them costs, or the units of services; each with its day."""
    loaded = load_prices(prices)
    if services:
        _list_services(loaded, cloud, as_json=as_json)
        return
    found = loaded.instances(None if cloud is None else [cloud], None if region is None else [region])
    kept = [one for one in found if machine is None or machine in one.type]
    if as_json:
        print_json(kept)
        return
    columns = [
        "cloud",
        "region",
        "type",
        "vCPUs",
        "GiB",
        "accelerator",
        "on demand",
        "spot",
        "1 year",
        "3 years",
        "as of",
    ]
    rows = [_machine(one) for one in kept]
    console.print(table("Machines, US dollars an hour", columns, rows, right=columns[3:5] + columns[6:10]))
    _say_stale(loaded)


@app.command()
def check(
    path: Annotated[
        Path | None, typer.Argument(help="A table or a folder of them; the shipped one by default.")
    ] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Check every row against the rules of a price table; ends with 3 where a row cannot be used."""
    found = check_prices(path, today=SystemClock().now().date())
    if as_json:
        print_json(found)
    else:
        for one in found.refused:
            console.print(f"refused   {one}", markup=False)
        for one in found.doubtful:
            console.print(f"doubtful  {one}", markup=False)
        if found.stale:
            console.print(found.stale, markup=False)
        console.print(f"{found.rows} rows: {len(found.refused)} refused, {len(found.doubtful)} doubtful.")
    if not found.is_usable:
        raise typer.Exit(_REFUSED)


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(help="The folder of the older tables.")],
    after: Annotated[Path | None, typer.Argument(help="The folder of the newer ones; the shipped by default.")] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Say which prices rose, fell, came and went between two tables."""
    found = diff_prices(load_prices(before), load_prices(after))
    if as_json:
        print_json(found)
        return
    _changes("Rose", found.rose)
    _changes("Fell", found.fell)
    for title, names in (("New", found.came), ("Gone", found.went)):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            console.print(f"{title}: {', '.join(names[:_SHOWN])}{more}", markup=False)
    counts = f"{len(found.rose)} rose, {len(found.fell)} fell, {len(found.came)} came, {len(found.went)} went"
    console.print(f"{counts}; {found.same} are the same.")


@app.command("import")
def import_prices(
    file: Annotated[Path, typer.Argument(help="A CSV file with the columns of one of the tables.")],
    prices: Annotated[Path, typer.Option("--prices", help="The folder that gets the tables.")] = Path("prices"),
    take: Annotated[str | None, typer.Option(help="Which holds where two differ by over 10 %: ours or theirs.")] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Put rows of your own over a price table; what breaks a rule is refused, and nothing is written then."""
    if take not in {None, "ours", "theirs"}:
        raise UsageError(f"--take {take} is not known.", hint="Write --take ours or --take theirs.")
    held = load_prices(prices if prices.is_dir() and any(prices.glob("*.csv")) else None)
    merged = merge_prices(held, file, take=cast("Take | None", take))
    prices.mkdir(parents=True, exist_ok=True)
    written = write_prices(merged.table, prices)
    if as_json:
        counted = {"came": merged.came, "changed": merged.changed, "same": merged.same, "conflicts": merged.conflicts}
        print_json({"table": merged.file, "written": written, **counted})
        return
    for one in merged.conflicts:
        console.print(f"{take} holds: {one}", markup=False)
    counts = f"{len(merged.came)} new, {len(merged.changed)} changed, {len(merged.same)} as they were"
    console.print(f"{merged.file}: {counts}. The tables are in {prices}.", markup=False)
    console.print(f"Plan with them: loopwright plan --prices {prices}", markup=False)


def _machine(one: Instance) -> list[object]:
    accelerator = f"{one.accelerators:g} x {one.accelerator}" if one.is_gpu else ""
    hours = [one.price(way) for way in ("on_demand", "spot", "commit_1y", "commit_3y")]
    shown = [None if price is None else f"{price.usd:.4g}" for price in hours]
    sizes = [f"{one.vcpus:g}", f"{one.memory_gib:g}"]
    return [one.provider, one.region, one.type, *sizes, accelerator, *shown, one.on_demand.as_of or None]


def _list_services(loaded: PriceTable, cloud: str | None, *, as_json: bool) -> None:
    if cloud is not None:
        loaded.regions(cloud)  # refuses a name that there is not
    kept = [(key, step) for key, steps in loaded.units.items() for step in steps if cloud in {None, key[0]}]
    if as_json:
        print_json(
            [
                {"provider": key[0], "service": key[1], "tier": key[2], "from_quantity": step.from_quantity}
                | {"price": step.price, "note": step.note}
                for key, step in kept
            ]
        )
        return
    rows = [
        [*key, f"{step.from_quantity:g}", unit_price(step.price.usd), step.price.unit, step.price.as_of or None]
        for key, step in kept
    ]
    columns = ["cloud", "service", "tier", "from", "price", "unit", "as of"]
    console.print(table("Services", columns, rows, right=["from", "price"]))
    _say_stale(loaded)


def _say_stale(loaded: PriceTable) -> None:
    if loaded.stale:
        console.print(loaded.stale, markup=False)


def _changes(title: str, changes: tuple[PriceChange, ...]) -> None:
    if not changes:
        return
    rows = [
        [one.name, unit_price(one.before_usd), unit_price(one.after_usd), one.unit, signed_share(one.share)]
        for one in changes[:_SHOWN]
    ]
    title = f"{title}, the largest {_SHOWN} of {len(changes)}" if len(changes) > _SHOWN else title
    console.print(table(title, ["price of", "was", "is", "unit", "by"], rows, right=["was", "is", "by"]))
