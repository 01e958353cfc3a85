"""``loopwright features get``: the values that are served for some entities."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json, table
from loopwright.app.cli.project import opened
from loopwright.core.durations import format_duration
from loopwright.core.errors import UsageError
from loopwright.core.pseudonyms import Pseudonyms

if TYPE_CHECKING:
    from loopwright.features.online import OnlineRow
    from loopwright.features.view_registry import ViewRecord
    from loopwright.loop.project import Loop
    from loopwright.workspace import Workspace


def get_values(
    views: Annotated[list[str], typer.Argument(help="The feature views; name@version for another than the newest.")],
    entity: Annotated[
        list[str] | None, typer.Option(help="One entity, as courier=c1 or courier=c1,town=Oslo; may be repeated.")
    ] = None,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show the values that are served for entities now, with their age; nothing where a value is past its ttl."""
    asked = [_entity(text) for text in entity or [""]]
    with opened(project) as (loop, workspace):
        names = [one.partition("@") for one in views]
        records = [workspace.features.registry.get(name, version or None) for name, _, version in names]
        now = workspace.stores.clock.now()
        found = [
            _Answer(record.ref.id, one, _find(loop, workspace, record, one)) for record in records for one in asked
        ]
    if as_json:
        print_json([one.to_json() for one in found])
        return
    rows: list[list[object]] = []
    for one in found:
        view = one.view.partition("@")[0]
        shown = ", ".join(f"{name}={value}" for name, value in one.entity.items())
        if one.row is None:
            rows.append([view, shown, "-", None, None])
            continue
        age = format_duration(now - one.row.event_time)
        rows += [[view, shown, name, value, age] for name, value in one.row.values.items()]
    console.print(table("Online values", ["view", "entity", "feature", "value", "age"], rows, right=["age"]))


@dataclass(frozen=True)
class _Answer:
    view: str
    entity: dict[str, str]
    row: OnlineRow | None

    def to_json(self) -> dict[str, object]:
        row = self.row
        return {
            "view": self.view,
            "entity": self.entity,
            "values": None if row is None else row.values,
            "event_time": None if row is None else row.event_time,
            "available_at": None if row is None else row.available_at,
        }


def _entity(text: str) -> dict[str, str]:
    """Read ``courier=c1,town=Oslo``."""
    pairs = [part.partition("=") for part in text.split(",") if part]
    if any(not name.strip() or not equals for name, equals, _ in pairs):
        raise UsageError(f"--entity {text!r} names no entity.", hint="Write --entity courier=c1.")
    return {name.strip(): value for name, _, value in pairs}


def _find(loop: Loop, workspace: Workspace, view: ViewRecord, entity: dict[str, str]) -> OnlineRow | None:
    """Look an entity up by its text, and where it may be a number or a truth value, as such."""
    hashed = _hashed(loop, view)
    given = {name: value for name, value in entity.items() if name in view.entity}
    forms = [
        [Pseudonyms(workspace.stores.facts).of(value)] if name in hashed else _forms(value)
        for name, value in given.items()
    ]
    rows = [dict(zip(given, values, strict=True)) for values in product(*forms)]
    (found,) = workspace.features.online_rows([view], rows)
    return next((row for row in found if row is not None), None)


def _forms(text: str) -> list[object]:
    forms: list[object] = [text]
    for kind in (int, float):
        try:
            forms.append(kind(text))
        except ValueError:
            continue
        break
    if text.lower() in {"true", "false"}:
        forms.append(text.lower() == "true")
    return forms


def _hashed(loop: Loop, view: ViewRecord) -> frozenset[str]:
    """Return the key columns that the view's datasets hold as pseudonyms."""
    declared = loop.views.get(view.name)
    columns = [one for dataset in declared.datasets for one in dataset.contract.columns] if declared else []
    return frozenset(one.name for one in columns if one.sensitive == "hash" and one.name in view.entity)
