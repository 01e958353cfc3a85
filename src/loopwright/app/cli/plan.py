"""``loopwright plan``: from a workload to a plan with its monthly cost, and what changed between two."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json
from loopwright.app.cli.plan_ask import asked_file
from loopwright.app.cli.plan_view import show_plan
from loopwright.app.cli.plan_watch import watch
from loopwright.app.cli.prices import PRICES_OPTION, load_prices
from loopwright.core.errors import DeclarationError, UsageError
from loopwright.loop.loading import find_project, load_loop
from loopwright.loop.plan_watch import plan_path, read_plan
from loopwright.planning.plan_diff import diff_plans, diff_text
from loopwright.planning.planner import LEAST_DRAWS, make_plan
from loopwright.planning.report_html import report_html
from loopwright.planning.report_markdown import report_markdown
from loopwright.planning.workload_file import read_tables, request_of

if TYPE_CHECKING:
    from loopwright.planning.plan import Plan
    from loopwright.planning.workload import Workload

_DEFAULT = "make"
_ASKED = "workload.toml"
_VCPUS_OF_A_CORE = 2
_ASSUMED_TRAINING = "1h"
"""Of one training on four cores, where nobody says; it stands in the plan as an assumption."""


class _Planning(TyperGroup):
    """A group whose first word may be left out: ``plan FILE`` is ``plan make FILE``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - the context of whichever Click Typer has
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_Planning)
app.command("watch")(watch)


@app.command(_DEFAULT)
def make(
    file: Annotated[
        Path | None, typer.Argument(help="A workload in TOML or YAML; the project's loop.workload by default.")
    ] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask for the workload, and write it to FILE.")] = False,
    per_day: Annotated[str | None, typer.Option(help="Requests on an average day, such as 1M.")] = None,
    peak: Annotated[str | None, typer.Option(help="Requests at the peak, such as 50/s.")] = None,
    latency: Annotated[str | None, typer.Option(help="What the 99th percentile may take, such as 200ms.")] = None,
    payload: Annotated[str | None, typer.Option(help="The size of one request, such as 100KB.")] = None,
    retention: Annotated[str | None, typer.Option(help="How long raw data are kept, such as 90d.")] = None,
    service_time: Annotated[
        str | None, typer.Option(help="What one answer takes on one core, such as 50ms; kept as an assumption.")
    ] = None,
    training: Annotated[str | None, typer.Option(help="What one training takes, by hardware: A10G=10h,cpu=2h.")] = None,
    cadence: Annotated[str | None, typer.Option(help="How often it is trained, such as monthly.")] = None,
    clouds: Annotated[str | None, typer.Option(help="Where it may run, such as aws,gcp.")] = None,
    regions: Annotated[str | None, typer.Option(help="In which regions, such as us-east-1.")] = None,
    prices: Annotated[Path | None, PRICES_OPTION] = None,
    seed: Annotated[int, typer.Option(help="Of every simulation and draw.", min=0)] = 0,
    draws: Annotated[int, typer.Option(help="Draws of the uncertain inputs.", min=100, max=100_000)] = LEAST_DRAWS,
    out: Annotated[Path | None, typer.Option(help="Keep the plan in this file, as JSON.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep it as the project's plan.json, for `plan watch`.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Write the report as Markdown to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as a page with pictures to this file.")] = None,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Plan where and on what to run, and what it costs in a month; `loopwright plan FILE` does this too."""
    kept = plan_path(find_project(project)) if keep else None
    if ask:
        file = asked_file(file or Path(_ASKED))
    tables = _tables(file, project, is_given=per_day is not None)
    given = {"per_day": per_day, "peak": peak, "latency_p99": latency, "payload": payload, "retention": retention}
    tables["requests"] = _table(tables, "requests") | {name: text for name, text in given.items() if text is not None}
    trained = {"cadence": cadence, "hours": None if training is None else _hours(training)}
    tables["training"] = _table(tables, "training") | {name: one for name, one in trained.items() if one is not None}
    tables |= {name: _names(text) for name, text in (("clouds", clouds), ("regions", regions)) if text is not None}
    if not tables["training"].get("hours") and tables["training"].get("runs_per_month") != 0:
        tables["training"] |= {"hours": {"cpu": _ASSUMED_TRAINING}, "tag": "assumed"}
    if service_time is not None:
        tables["services"] = [{"name": "model", "mean": service_time, "vcpus": _VCPUS_OF_A_CORE, "tag": "assumed"}]
    if not tables.get("services"):
        raise UsageError(
            "A plan needs to know how long one answer takes.",
            hint="Give --service-time 50ms, or write [[services]] with name and mean into a workload file.",
        )
    asked = request_of({name: value for name, value in tables.items() if value != {}})
    loaded = load_prices(prices)
    with _waiting():
        plan = make_plan(
            asked.workload, asked.services, asked.training, loaded, seed=seed, draws=draws, today=loaded.today
        )
    for path, text_of in ((out, _plan_file), (kept, _plan_file), (markdown, report_markdown), (html, report_html)):
        if path is not None:
            _write(path, text_of(plan))
    if as_json:
        print_json(plan.to_json())
        return
    show_plan(plan, stale=loaded.stale)
    for path in (out, kept, markdown, html):
        if path is not None:
            console.print(f"Written: {path}", markup=False)


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(help="The older plan, as `plan --out` kept it.")],
    after: Annotated[Path, typer.Argument(help="The newer plan.")],
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Say what changed between two plans: what was asked, prices, choices, and the cost of each stage."""
    found = diff_plans(read_plan(before), read_plan(after))
    if as_json:
        print_json(found)
    else:
        console.print(diff_text(found), markup=False, soft_wrap=True)


def _write(path: Path, text: str) -> None:
    """Write a file at once: who reads it meanwhile, such as the controller, finds the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _plan_file(plan: Plan) -> str:
    return json.dumps(plan.to_json(), indent=1, ensure_ascii=False) + "\n"


def _tables(file: Path | None, project: Path, *, is_given: bool) -> dict[str, Any]:
    """Return what is asked: the file's, or the project's, or nothing where the command line says it all."""
    if file is not None:
        return dict(read_tables(file))
    try:
        folder = find_project(project)
    except UsageError as error:
        if is_given:
            return {}
        raise UsageError(
            f"There is nothing to plan for: {error.message}",
            hint="Name a workload file, go into a project, or give --per-day 1M --service-time 50ms.",
        ) from error
    loop = load_loop(folder)
    if loop.demand is None:
        if is_given:
            return {"name": loop.name}
        raise DeclarationError(
            f"The project '{loop.name}' declares no workload.",
            hint="Add loop.workload(requests_per_day=…) to loop.py, or give --per-day 1M.",
        )
    return _declared(loop.name, loop.demand)


def _declared(name: str, demand: Workload) -> dict[str, Any]:
    """Return a declared workload as the tables of a file."""
    values = {
        "requests_per_day": ("per_day", demand.requests_per_day),
        "peak_rps": ("peak", demand.peak_rps),
        "latency_p99": ("latency_p99", demand.latency_p99.total_seconds()),
        "payload_bytes": ("payload", demand.payload_bytes),
        "retention": ("retention", None if demand.retention is None else f"{demand.retention.total_seconds():.0f}s"),
    }
    requests = {key: value for field, (key, value) in values.items() if field in demand.given and value is not None}
    return {"name": name, "requests": requests, "training": {"cadence": demand.retrain}}


def _table(tables: dict[str, Any], name: str) -> dict[str, Any]:
    value = tables.get(name, {})
    if not isinstance(value, dict):
        raise DeclarationError(f"'{name}' is no table: {value!r}.", hint=f"Write [{name}] and keys below it.")
    return value


def _hours(text: str) -> dict[str, str]:
    """Read ``A10G=10h,cpu=2h``."""
    found = {}
    for part in _names(text):
        hardware, _, duration = part.partition("=")
        if not hardware or not duration:
            raise UsageError(f"--training {text} is not understood.", hint="Write A10G=10h, or A10G=10h,cpu=40h.")
        found[hardware.strip()] = duration.strip()
    return found


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _waiting() -> contextlib.AbstractContextManager[object]:
    said = Console(stderr=True)
    return said.status("Planning every place …") if said.is_terminal else contextlib.nullcontext()
