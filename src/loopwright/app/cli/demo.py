"""``loopwright demo``: the story of one loop."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loopwright.app.cli.console import JSON_OPTION, console, print_json
from loopwright.app.cli.turn_view import TurnView
from loopwright.app.demo.story import Story


class _Telling:
    def __init__(self, target: Console) -> None:
        self._console = target

    def chapter(self, number: int, title: str) -> None:
        self._console.print()
        self._console.rule(f"[bold]{number} · {title}[/]", align="left")

    def say(self, text: str) -> None:
        self._console.print(text)


def command(
    folder: Annotated[Path | None, typer.Option(help="Where to put the project.", show_default="a new folder")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same numbers.")] = 0,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Tell the story of one loop, from raw images to a retrained, promoted model."""
    place = Path(tempfile.mkdtemp(prefix="loopwright-demo-")) if folder is None else folder
    place.mkdir(parents=True, exist_ok=True)
    target = Console(quiet=True) if as_json else console
    view = TurnView(target)
    try:
        report = Story(place.resolve(), _Telling(target), view, seed=seed).run()
    finally:
        view.close()
    if as_json:
        print_json(report)
        return
    console.print()
    console.rule(f"[bold]Promoted after {report.seconds_total:.0f} s[/]", align="left")
    console.print("Open next:")
    console.print(f"  cd {place}")
    ours = "loopwright" if shutil.which("loopwright") else str(Path(sys.executable).with_name("loopwright"))
    lines = {
        "cat loop.py": "the whole project",
        f"{ours} status": "what is live and how it does",
        f"{ours} incidents list --all": "what was seen, with its evidence",
        f"{ours} models show digit": "the champion, its verdict and lineage",
        f"{ours} up": "serve it, and keep turning",
    }
    width = max(map(len, lines))
    for line, what in lines.items():
        console.print(f"  {line:<{width}}   [dim]{what}[/]")
