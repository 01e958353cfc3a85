"""``loopwright predict``: answer rows with a version, without a server."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from loopwright.app.cli.console import PROJECT_OPTION, print_json
from loopwright.app.cli.project import opened
from loopwright.core.errors import UsageError
from loopwright.serving.predictor import Predictor


def command(
    model: Annotated[str, typer.Argument(help="A model (its champion answers), or a version such as eta/3.")],
    rows: Annotated[
        str, typer.Argument(help="JSON rows, a .json or .jsonl file of them, an image file, or - to read JSON.")
    ],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
) -> None:
    """Predict rows with a version, without a server and without logging; prints JSON."""
    with opened(project) as (_, workspace):
        version = workspace.registry.get(model, "latest" if "/" in model else "champion")
        loaded = workspace.registry.load(version)
        predictor = Predictor(loaded, online=workspace.features.online, clock=workspace.stores.clock)
        images = [field.name for field in predictor.inputs if field.type in ("image", "audio", "text")]
        answers = predictor.predict_many(_read(rows, images))
    print_json(
        {
            "model": version.model,
            "version": version.version,
            "predictions": answers.values,
            "probabilities": answers.probabilities,
            "classes": answers.classes,
        }
    )


def _read(given: str, payload_fields: list[str]) -> list[dict[str, object]]:
    if given == "-":
        return _rows(sys.stdin.read(), "standard input")
    path = Path(given)
    if given.lstrip().startswith(("{", "[")):
        return _rows(given, "the argument")
    if not path.is_file():
        raise UsageError(
            f"{given!r} is neither a file nor JSON.", hint="""Write '[{"distance_km": 3.2}]' or a file's name."""
        )
    if path.suffix in (".json", ".jsonl"):
        return _rows(path.read_text(encoding="utf-8"), path.name)
    if len(payload_fields) != 1:
        raise UsageError(f"{path.name} is no JSON file.", hint="The model takes rows: give a .json or .jsonl file.")
    return [{payload_fields[0]: path.read_bytes()}]


def _rows(text: str, where: str) -> list[dict[str, object]]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        try:
            value = [json.loads(line) for line in text.splitlines() if line.strip()]
        except json.JSONDecodeError as error:
            raise UsageError(
                f"{where} is no JSON: {error}.", hint="Give a list of objects, or one object a line."
            ) from error
    rows = value if isinstance(value, list) else [value]
    if not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{where} holds no rows.", hint="Give a list of objects.")
    return rows
