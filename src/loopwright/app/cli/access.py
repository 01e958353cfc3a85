"""``loopwright access``: tokens with roles, and the record of sensitive values that left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json, table
from loopwright.app.cli.project import opened
from loopwright.core.access import Role, require
from loopwright.core.durations import parse_duration

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what will use the token.")],
    role: Annotated[str, typer.Option(help="viewer, operator or admin.")] = "viewer",
    expires: Annotated[str | None, typer.Option(help="When it ends, such as 90d; never by default.")] = None,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Make a token and show it once. The first one, an admin's, turns access control on."""
    with opened(project) as (_, workspace):
        require(workspace.principal, "admin", "making tokens")
        ends = None if expires is None else parse_duration(expires)
        secret = workspace.access.create(name, cast("Role", role), expires_in=ends)
    if as_json:
        print_json({"name": name, "role": role, "token": secret})
        return
    console.print(f"{name} is {role} with this token, which is not shown again:")
    console.print(f"  {secret}", soft_wrap=True, highlight=False)
    console.print("Use it as LOOPWRIGHT_ACCESS_TOKEN, or with HTTP as Authorization: Bearer <token>.")


@app.command("list")
def list_tokens(
    project: Annotated[Path, PROJECT_OPTION] = Path(), as_json: Annotated[bool, JSON_OPTION] = False
) -> None:
    """List tokens: who, which role, until when; never the secret."""
    with opened(project) as (_, workspace):
        require(workspace.principal, "admin", "listing tokens")
        found = workspace.access.tokens()
    if as_json:
        print_json(found)
        return
    rows = [[one.name, one.role, one.created_at, one.expires_at, one.revoked_at] for one in found]
    console.print(table("Tokens", ["name", "role", "made", "expires", "revoked"], rows))


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Whose tokens end.")],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
) -> None:
    """End the tokens of a name, within seconds also for running servers."""
    with opened(project) as (_, workspace):
        require(workspace.principal, "admin", "revoking tokens")
        count = workspace.access.revoke(name)
        is_on = workspace.access.is_on
    console.print(f"{count} token{'' if count == 1 else 's'} of {name} ended.")
    if not is_on:
        console.print("No token is in use any more: whoever can open the project's files is its admin.")


@app.command()
def audit(
    dataset: Annotated[str | None, typer.Argument(help="Readings of one dataset only.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 100,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show who was given sensitive values: when, of which columns, how many rows, what for."""
    with opened(project) as (_, workspace):
        require(workspace.principal, "admin", "reading the record of sensitive reads")
        found = workspace.access.reads(dataset=dataset, limit=limit)
    if as_json:
        print_json(found)
        return
    rows = [[r.at, r.reader, r.role, r.dataset, ", ".join(r.columns), r.rows, r.purpose] for r in found]
    columns = ["when", "reader", "role", "dataset", "columns", "rows", "purpose"]
    console.print(table("Sensitive values that left", columns, rows, right=["rows"]))
