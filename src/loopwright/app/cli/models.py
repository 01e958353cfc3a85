"""``loopwright models``: versions, their verdicts, and who is champion."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json, table
from loopwright.app.cli.project import known_model, opened, require_operator
from loopwright.core.errors import RefusedError
from loopwright.loop.rebuild import rebuild
from loopwright.registry.alias import CHAMPION, Override
from loopwright.serving.releases.rollout import Rollout

if TYPE_CHECKING:
    from loopwright.evaluation.verdict import Verdict
    from loopwright.registry.version import ModelVersion
    from loopwright.workspace import Workspace

app = typer.Typer(no_args_is_help=True)
_VERSION = typer.Argument(help="A version such as eta/3, or a model's name for its newest one.")


@app.command("list")
def list_versions(
    model: Annotated[str | None, typer.Argument(help="One model only.")] = None,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """List versions, newest first, with their aliases and verdicts."""
    with opened(project) as (loop, workspace):
        versions = workspace.registry.versions(known_model(loop, model))
        aliases = {name: workspace.aliases.of_model(name) for name in {version.model for version in versions}}
        verdicts = {version.id: latest_verdict(workspace, version) for version in versions}
    if as_json:
        print_json(
            [
                {
                    **version.to_json(),
                    "aliases": [alias for alias, number in aliases[version.model].items() if number == version.version],
                    "verdict": verdict.to_json() if (verdict := verdicts[version.id]) else None,
                }
                for version in versions
            ]
        )
        return
    rows = [
        [
            version.id,
            version.created_at,
            ", ".join(alias for alias, number in aliases[version.model].items() if number == version.version),
            verdict.outcome if (verdict := verdicts[version.id]) else None,
            "onnx" if version.compiled else version.model_file.format,
            version.model_file.estimator_class.rpartition(".")[2],
        ]
        for version in versions
    ]
    console.print(table("Models", ["version", "registered", "aliases", "verdict", "form", "estimator"], rows))


@app.command()
def show(
    version: Annotated[str, _VERSION],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show a version: signature, forms, figures, verdict, and what it was made from."""
    with opened(project) as (_, workspace):
        record = workspace.registry.get(version)
        verdict = latest_verdict(workspace, record)
        edges = workspace.stores.lineage.ancestors(record.ref)
    if as_json:
        print_json(
            {
                "version": record.to_json(),
                "verdict": None if verdict is None else verdict.to_json(),
                "lineage": [{"from": str(e.source), "to": str(e.target), "relation": e.relation} for e in edges],
            }
        )
        return
    facts = {
        "registered": record.created_at,
        "run": record.run_id,
        "estimator": record.model_file.estimator_class,
        "form": "onnx" if record.compiled else f"{record.model_file.format} ({record.not_compiled_because})",
        "answers": record.signature.output.kind,
        "inputs": ", ".join(field.name for field in record.signature.inputs[:12]),
        "parameters": ", ".join(f"{name}={value}" for name, value in record.parameters.items()),
    }
    console.print(table(record.id, ["", ""], list(facts.items())))
    if verdict is not None:
        rows = [[rule.rule, rule.outcome, rule.reason] for rule in verdict.rules]
        console.print(table(f"Verdict: {verdict.outcome}", ["rule", "outcome", "reason"], rows))
    console.print(table("Made from", ["from", "to", ""], [[e.source, e.target, e.relation] for e in edges]))


@app.command()
def compare(
    first: Annotated[str, _VERSION],
    second: Annotated[str, _VERSION],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Put two versions side by side: parameters and what training measured."""
    with opened(project) as (_, workspace):
        pair = [workspace.registry.get(first), workspace.registry.get(second)]
        runs = [workspace.runs.get(version.run_id) for version in pair]
        verdicts = [latest_verdict(workspace, version) for version in pair]
    figures: dict[str, list[object]] = {
        "verdict": [None if verdict is None else verdict.outcome for verdict in verdicts],
        "estimator": [version.model_file.estimator_class for version in pair],
        "training set": [version.training_set.id[:12] for version in pair],
    }
    for name in sorted({name for version in pair for name in version.parameters}):
        figures[f"params.{name}"] = [version.parameters.get(name) for version in pair]
    for name in sorted({name for run in runs for name in run.metrics}):
        figures[f"metrics.{name}"] = [run.metrics.get(name) for run in runs]
    if as_json:
        print_json({"versions": [version.id for version in pair], "figures": figures})
        return
    rows = [[name, *values] for name, values in figures.items()]
    console.print(table("Versions", ["", *(version.id for version in pair)], rows))


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="A version such as eta/3.")],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    override: Annotated[
        str | None, typer.Option(help="Your reason for promoting without a passing verdict; it is kept.")
    ] = None,
) -> None:
    """Make a version champion; without a passing verdict it takes an override, named and recorded."""
    with opened(project) as (_, workspace):
        require_operator(workspace, "promoting")
        record = workspace.registry.get(version)
        release = workspace.releases.current(record.model)
        if release is not None and release.challenger == record.id and override is None:
            ended = Rollout(workspace.stores).promote_now(record.model, reason=f"by hand: {getpass.getuser()}")
            console.print(f"{record.id}: {ended.stage if ended else 'no release'}")
            return
        before = workspace.aliases.current(record.model)
        if before == record.version:
            console.print(f"{record.id} is champion already.")
            return
        workspace.aliases.move(
            record.model,
            CHAMPION,
            record.version,
            expected=before,
            by=getpass.getuser(),
            override=None if override is None else Override(getpass.getuser(), override),
        )
    console.print(f"{record.id} is champion" + ("" if before is None else f" (before: {record.model}/{before})"))


@app.command()
def rollback(
    model: Annotated[str, typer.Argument(help="The model.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept.")],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
) -> None:
    """Go back to the champion before; an open release is ended first."""
    with opened(project) as (_, workspace):
        require_operator(workspace, "rolling back")
        release = Rollout(workspace.stores).roll_back(model, reason=reason)
        if release is not None:
            console.print(f"The release of {release.challenger} is ended; {release.champion} keeps answering.")
            return
        move = workspace.aliases.rollback(model, by=getpass.getuser(), reason=reason)
    console.print(f"{model}/{move.to_version} is champion again (was {model}/{move.from_version})")


@app.command()
def archive(
    version: Annotated[str, typer.Argument(help="A version such as eta/3.")],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
) -> None:
    """Put a version away: not listed, never the newest; `gc` may take its bytes."""
    with opened(project) as (_, workspace):
        require_operator(workspace, "archiving")
        record = workspace.registry.get(version)
        release = workspace.releases.current(record.model)
        if release is not None and record.id in (release.champion, release.challenger):
            raise RefusedError(
                f"{record.id} cannot be archived: a release of {release.challenger} over {release.champion} is open.",
                hint=f"Wait for it, or end it: loopwright models rollback {record.model} --reason TEXT.",
            )
        workspace.registry.archive(record)
    console.print(f"{record.id} is archived")


@app.command()
def history(
    model: Annotated[str, typer.Argument(help="The model.")],
    alias: Annotated[str, typer.Option(help="The alias.")] = CHAMPION,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show the audit trail of an alias: every move, who made it, and what allowed it."""
    with opened(project) as (_, workspace):
        workspace.registry.get(model)
        moves = workspace.aliases.history(model, alias)
    if as_json:
        print_json(moves)
        return
    rows = [
        [
            move.move,
            move.moved_at,
            "none" if move.from_version is None else f"{model}/{move.from_version}",
            "none" if move.to_version is None else f"{model}/{move.to_version}",
            move.moved_by,
            f"override: {move.override_reason}" if move.override_reason and not move.rollback else "",
            move.verdict_id or (f"rolled back: {move.override_reason}" if move.rollback else ""),
        ]
        for move in moves
    ]
    console.print(table(f"{alias} of {model}", ["move", "at", "from", "to", "by", "override", "verdict"], rows))


@app.command()
def reproduce(
    version: Annotated[str, _VERSION],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Train a version again from its record and compare the predictions."""
    with opened(project) as (_, workspace):
        report = rebuild(workspace, workspace.registry.get(version))
    if as_json:
        print_json(report)
        return
    console.print(f"{report.version}: {report.text}")
    for difference in report.environment_differences:
        console.print(f"  environment: {difference}")


def latest_verdict(workspace: Workspace, version: ModelVersion) -> Verdict | None:
    """Return the newest verdict on a version, or None."""
    found = workspace.evaluation.records.verdicts(version.ref)
    return found[-1] if found else None
