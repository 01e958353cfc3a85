"""``loopwright stream``: events in, predictions out; what could not be answered, and giving it back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json, table
from loopwright.app.cli.project import opened, require_operator
from loopwright.app.cli.stream_view import in_words
from loopwright.core.errors import UnknownNameError
from loopwright.loop.status import stream_standing
from loopwright.serving.stream.replay import replay as replay_letters
from loopwright.serving.stream.standing import dead_letters

if TYPE_CHECKING:
    from loopwright.loop.project import Loop
    from loopwright.serving.stream.declaration import StreamDeployment

app = typer.Typer(no_args_is_help=True)
_SHOWN_CHARACTERS = 200

ModelArgument = Annotated[str, typer.Argument(help="The model whose stream it is.")]


@app.command()
def status(
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show how far behind each stream is, its rate and its dead letters."""
    with opened(project) as (loop, workspace):
        found = [stream_standing(workspace, name, stream) for name, stream in _streams(loop).items()]
    if as_json:
        print_json(found)
        return
    if not found:
        console.print("No model answers a stream. Declare one with loop.deploy(model, stream=lw.stream(…)).")
    for one in found:
        console.print(f"{one.topic} → {one.model} → {one.to}: {in_words(one)}")


@app.command()
def dead(
    model: ModelArgument,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    limit: Annotated[int, typer.Option(help="How many of the newest are shown.", min=1)] = 20,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """List the newest events that could not be answered, with the reason of each."""
    with opened(project) as (loop, workspace):
        letters = dead_letters(workspace.stores.events, model, _stream(loop, model), limit=limit)
    texts = [letter.value.decode("utf-8", errors="replace") for letter in letters]
    if as_json:
        fields = [{**vars(letter), "value": text} for letter, text in zip(letters, texts, strict=True)]
        print_json(fields)
        return
    if not letters:
        console.print("No dead letters.")
        return
    rows = [
        [
            letter.offset,
            f"{letter.topic}/{letter.partition}/{letter.source_offset}",
            letter.error,
            letter.reason,
            letter.attempts,
            "yes" if letter.is_replayed else "",
            text[:_SHOWN_CHARACTERS],
        ]
        for letter, text in zip(letters, texts, strict=True)
    ]
    columns = ["letter", "event", "error", "reason", "tries", "replayed", "value"]
    console.print(table("Dead letters", columns, rows, right=["letter", "tries"]))
    waiting = sum(not letter.is_replayed for letter in letters)
    if waiting:
        console.print(f"After the fix: loopwright stream replay {model}")


@app.command()
def replay(
    model: ModelArgument,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Give every dead letter back to its topic, once; what fails again becomes a dead letter again."""
    with opened(project) as (loop, workspace):
        deployed = _stream(loop, model)
        require_operator(workspace, "replay dead letters")
        count = replay_letters(workspace.stores, model, deployed)
    if as_json:
        print_json({"model": model, "topic": deployed.topic, "replayed": count})
        return
    console.print(f"{count} events went back to '{deployed.topic}'." if count else "No dead letter waits.")


def _streams(loop: Loop) -> dict[str, StreamDeployment]:
    return {name: model.stream for name, model in loop.models.items() if model.stream is not None}


def _stream(loop: Loop, model: str) -> StreamDeployment:
    streams = _streams(loop)
    if model not in streams:
        raise UnknownNameError("stream", model, streams)
    return streams[model]
