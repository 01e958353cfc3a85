"""``loopwright status``: one screen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json, table
from loopwright.app.cli.project import opened
from loopwright.app.cli.stream_view import in_words
from loopwright.core.durations import format_duration
from loopwright.loop.scoring import BatchStatus
from loopwright.loop.status import LoopStatus, ModelStatus, status_of


def command(
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show on one screen what is live, how it does, what is open and what comes next."""
    with opened(project) as (loop, workspace):
        found = status_of(loop, workspace)
    if as_json:
        print_json(found)
        return
    _show(found)


def _show(status: LoopStatus) -> None:
    server = status.server
    served = "not running" if server is None else f"{server.get('scheme', 'http')}://{server['host']}:{server['port']}"
    workers = status.server.get("workers") if status.server is not None else None
    if isinstance(workers, list):
        served += f" ({len(workers)} workers)"
    turning = ", a turn is running" if status.turning else ""
    console.print(f"[bold]{status.loop}[/]   server: {served}{turning}")
    rows = [[d.name, d.version, d.rows, d.quarantined, "new data waits" if d.has_new else ""] for d in status.datasets]
    console.print(
        table("Data", ["dataset", "version", "rows", "quarantined", ""], rows, right=["version", "rows", "quarantined"])
    )
    for model in status.models:
        _show_model(model)
    for stream in status.streams:
        console.print(f"[bold]stream[/] {stream.topic} → {stream.model} → {stream.to}: {in_words(stream)}")
    for batch in status.batches:
        console.print(f"[bold]batch[/] {batch.model} ({batch.cron}): {_batch_in_words(batch)}")
    if status.last_turn is not None:
        turn = status.last_turn
        took = "" if turn.finished_at is None else f" in {format_duration(turn.finished_at - turn.started_at)}"
        console.print(f"Last turn: {turn.status}{took}, {turn.started_at:%Y-%m-%d %H:%M} UTC; {turn.cause.text}")
    for decision in status.waiting:
        console.print(
            f"[yellow]Waits for you:[/] loopwright turns approve {decision.id}   ({decision.model}: {decision.text})"
        )
    if status.next_at is not None:
        console.print(f"Next: {status.next_at:%Y-%m-%d %H:%M} UTC at the latest")


def _batch_in_words(batch: BatchStatus) -> str:
    then = f"next {batch.next_at:%Y-%m-%d %H:%M} UTC"
    job = batch.last
    if job is None:
        return f"no job yet, {then}"
    counts = f"{job.scored:,} scored, {job.rejected:,} rejected"
    return f"job {job.id} of {job.at:%Y-%m-%d %H:%M} is {job.state} ({counts}), {then}"


def _show_model(model: ModelStatus) -> None:
    console.print(f"[bold]{model.name}[/]: champion {model.champion or 'none yet'}")
    if model.release is not None:
        release = model.release
        console.print(f"  release: {release.challenger} over {release.champion}, {release.stage} {release.share:.0%}")
    figures = model.figures
    if figures is None:
        return
    system = figures.system
    p99 = system.latency_ms(0.99)
    latency = "" if p99 is None else f", p99 {p99:.1f} ms"
    console.print(f"  system:   {system.requests:,} requests in a day, {system.error_share:.2%} failed{latency}")
    loss = figures.loss
    now = None if loss is None else loss.current
    if loss is not None and now is not None:
        console.print(
            f"  model:    loss {now.mean:.3g} ({now.low:.3g} to {now.high:.3g}) on the newest {now.rows} labels; "
            f"reference {loss.reference:.3g}, bound {loss.reference_upper:.3g}"
        )
    if figures.coverage:
        newest = figures.coverage[-1]
        console.print(f"  labels:   {newest.share:.0%} of the newest day's predictions have one")
    drifted = [window for window in figures.drift if window.get("alarm")]
    console.print(f"  data:     {len(figures.drift)} drift windows on record, {len(drifted)} of them drifted")
    for number in figures.kpis:
        console.print(f"  business: {number.name} {number.value:.4g}")
    for incident in figures.incidents:
        since = f"{incident.opened_at:%Y-%m-%d %H:%M}"
        console.print(f"  [red]{incident.severity}[/] {incident.check} {incident.state} since {since}: {incident.id}")
