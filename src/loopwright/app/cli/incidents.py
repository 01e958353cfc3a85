"""``loopwright incidents``: what a person has to deal with."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json, table
from loopwright.app.cli.project import opened, require_operator
from loopwright.core.errors import UnknownNameError
from loopwright.monitoring.incident import Incident, Incidents
from loopwright.monitoring.signal import Signals

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_incidents(
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """List incidents, newest first."""
    with opened(project) as (_, workspace):
        found = Incidents(workspace.stores).list()
    shown = [incident for incident in found if everything or incident.live]
    if as_json:
        print_json(shown)
        return
    if not shown:
        console.print("No open incident.")
        return
    rows = [[i.id, i.severity, i.model, i.check, i.state, i.opened_at, ", ".join(i.features[:6])] for i in shown]
    console.print(table("Incidents", ["incident", "severity", "model", "check", "state", "opened", "features"], rows))


@app.command()
def show(
    incident: Annotated[str, typer.Argument(help="The incident's id.")],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show an incident with the evidence of each of its signals."""
    with opened(project) as (_, workspace):
        record = _find(Incidents(workspace.stores).list(), incident)
        seen = [signal for name in record.signals if (signal := Signals(workspace.stores).get(name)) is not None]
    if as_json:
        print_json({"incident": record, "signals": seen})
        return
    since = f"{record.opened_at:%Y-%m-%d %H:%M} UTC"
    console.print(f"{record.severity} · {record.model} · {record.check} · {record.state} since {since}")
    rows = [
        [
            s.created_at,
            s.version,
            s.value,
            s.threshold,
            s.rows,
            s.window,
            ", ".join(f"{k} {v:.3g}" for k, v in s.certainty.items()),
        ]
        for s in seen
    ]
    console.print(table("Signals", ["seen", "version", "value", "bound", "rows", "window", "certainty"], rows))
    for signal in seen:
        print_json(signal.evidence)


@app.command()
def acknowledge(
    incident: Annotated[str, typer.Argument(help="The incident's id.")],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
) -> None:
    """Take an incident: it is not repeated while it lasts."""
    with opened(project) as (_, workspace):
        require_operator(workspace, "acknowledging")
        record = Incidents(workspace.stores).acknowledge(incident, by=getpass.getuser())
    console.print(f"{record.check} on {record.model}: {record.state}")


@app.command()
def resolve(
    incident: Annotated[str, typer.Argument(help="The incident's id.")],
    reason: Annotated[str, typer.Option(help="Why it is over.")],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
) -> None:
    """End an incident by hand."""
    with opened(project) as (_, workspace):
        require_operator(workspace, "resolving")
        record = Incidents(workspace.stores).resolve(incident, reason=reason)
    console.print(f"{record.check} on {record.model}: {record.state}")


def _find(incidents: list[Incident], incident_id: str) -> Incident:
    for incident in incidents:
        if incident.id == incident_id:
            return incident
    raise UnknownNameError("incident", incident_id, [incident.id for incident in incidents])
