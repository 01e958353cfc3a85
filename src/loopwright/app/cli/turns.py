"""``loopwright turns``: turns, their steps, and the answer to a proposed one."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json, table
from loopwright.app.cli.project import opened, require_operator
from loopwright.core.durations import format_duration
from loopwright.loop.decisions import DecisionLog
from loopwright.loop.turn_log import TurnLog

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_turns(
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    limit: Annotated[int, typer.Option(help="How many.")] = 20,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """List turns, newest first, and the decisions that wait for an answer."""
    with opened(project) as (loop, workspace):
        turns = TurnLog(workspace.stores).latest(loop.name, limit=limit)
        waiting = DecisionLog(workspace.stores).list(loop.name, status="waiting")
    if as_json:
        print_json({"turns": turns, "waiting": waiting})
        return
    console.print(
        table(
            "Turns",
            ["turn", "began", "took", "status", "cause"],
            [
                [
                    turn.id,
                    turn.started_at,
                    format_duration(turn.finished_at - turn.started_at) if turn.finished_at else None,
                    turn.status,
                    turn.cause.text,
                ]
                for turn in turns
            ],
        )
    )
    if waiting:
        console.print(
            table("Waiting for an answer", ["decision", "model", "why"], [[d.id, d.model, d.text] for d in waiting])
        )


@app.command()
def show(
    turn: Annotated[str, typer.Argument(help="The turn's id.")],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show the steps of a turn: what each read, made and took."""
    with opened(project) as (_, workspace):
        log = TurnLog(workspace.stores)
        record, steps = log.get(turn), log.steps(turn)
    if as_json:
        print_json({"turn": record, "steps": steps})
        return
    console.print(f"Turn {record.id}: {record.status}; {record.cause.text}")
    console.print(
        table(
            "Steps",
            ["step", "status", "took", "made"],
            [
                [
                    step.name,
                    step.status,
                    format_duration(step.finished_at - step.started_at) if step.finished_at else None,
                    step.error or step.output.get("summary", ""),
                ]
                for step in steps
            ],
        )
    )


@app.command()
def approve(
    decision: Annotated[str, typer.Argument(help="The decision's id.")],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
) -> None:
    """Approve a proposed turn; `loopwright up` begins it, or `loopwright run` does."""
    _answer(project, decision, approve=True)


@app.command()
def decline(
    decision: Annotated[str, typer.Argument(help="The decision's id.")],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
) -> None:
    """Decline a proposed turn."""
    _answer(project, decision, approve=False)


def _answer(project: Path, decision: str, *, approve: bool) -> None:
    with opened(project) as (_, workspace):
        require_operator(workspace, "answering a proposal")
        record = DecisionLog(workspace.stores).answer(decision, approve=approve, by=getpass.getuser())
    console.print(f"{record.status}: {record.text}")
