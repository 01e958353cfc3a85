"""``loopwright data import-contract``: print another tool's rules as a contract."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loopwright.app.cli.console import JSON_OPTION, print_json
from loopwright.core.errors import UsageError
from loopwright.data.quality.imports.import_contract import import_contract as read_contract


def import_contract(
    file: Annotated[Path, typer.Argument(help="A schema of pandera or a suite of Great Expectations.")],
    types: Annotated[
        list[str] | None, typer.Option("--type", help="The type of a column, as column=int; may be repeated.")
    ] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Print a pandera schema or a Great Expectations suite as a contract in Python, to be edited."""
    named = [one.partition("=") for one in types or []]
    if not all(name and sign and type_ for name, sign, type_ in named):
        raise UsageError("--type takes a column and its type, such as --type order_id=int.")
    made = read_contract(file, types={name: type_ for name, _, type_ in named})
    if as_json:
        print_json(
            {"contract": made.contract.describe(), "taken": made.taken, "left": made.left, "assumed": made.assumed}
        )
        return
    typer.echo(made.to_source())
