"""``loopwright export``: deployable files whose numbers come from a plan."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from loopwright.app.cli.console import JSON_OPTION, console, print_json, table
from loopwright.app.cli.prices import PRICES_OPTION, load_prices
from loopwright.core.errors import UsageError
from loopwright.loop.plan_watch import read_plan
from loopwright.planning.export.artefact import write_artefacts
from loopwright.planning.export.exporting import Export, export_plan

_PLAN = Path("plan.json")


def command(
    target: Annotated[str, typer.Argument(help="compose, kubernetes or terraform.")],
    to: Annotated[Path, typer.Option(help="The folder for the files, such as deploy.")],
    plan: Annotated[Path, typer.Option(help="The plan, as `plan --out` kept it.")] = _PLAN,
    image: Annotated[str, typer.Option(help="The project's image; NAME:latest by default.")] = "",
    bucket: Annotated[str, typer.Option(help="The bucket of the lake; NAME-lake by default.")] = "",
    host: Annotated[str, typer.Option(help="The name under which a cluster's Ingress answers.")] = "",
    prices: Annotated[Path | None, PRICES_OPTION] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Write the files that run a plan: image, machines, limits, scaling, schedules, alerts."""
    if not plan.exists():
        raise UsageError(f"There is no plan in {plan}.", hint=f"Make one: loopwright plan WORKLOAD.toml --out {plan}.")
    made = export_plan(read_plan(plan), load_prices(prices), target, image=image, bucket=bucket, host=host)
    write_artefacts(made.artefacts, to, force=force)
    if as_json:
        print_json(_plain(made, to))
        return
    rows = [[one.path, f"{len(one.text.encode()):,}"] for one in made.artefacts]
    console.print(table(f"{target} in {to}", ["file", "bytes"], rows, right=["bytes"]))
    for note in made.blueprint.notes:
        console.print(note, markup=False, style="yellow", soft_wrap=True)
    console.print(f"How to start it: {to / 'README.md'}", markup=False)


def _plain(made: Export, folder: Path) -> dict[str, object]:
    files = [
        {"path": str(folder / one.path), "sha256": hashlib.sha256(one.text.encode()).hexdigest()}
        for one in made.artefacts
    ]
    return {"files": files, "numbers": asdict(made.blueprint)}
