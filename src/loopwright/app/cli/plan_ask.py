"""``loopwright plan --ask``: asks for a workload, question by question, and writes the file that can be run again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from loopwright.app.cli.console import console
from loopwright.core.errors import RefusedError, UsageError
from loopwright.planning.questions import QUESTIONS, problem, tables_of, toml_of

if TYPE_CHECKING:
    from pathlib import Path


def asked_file(path: Path) -> Path:
    """Ask in the terminal, and return the file that the answers were written to.

    Raises:
        UsageError: If there is nobody to ask.
        RefusedError: If the file is there already.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "--ask needs a terminal, and there is none here.",
            hint="Write a workload file and run `loopwright plan FILE`; examples/plans has some.",
        )
    if path.exists():
        raise RefusedError(f"{path} is there already.", hint=f"Run `loopwright plan {path}`, or name another file.")
    console.print("Write quantities with their units, such as 1M/day, 50/s, 200ms, 100KB, 90d.", markup=False)
    answers: dict[tuple[str, str], str] = {}
    for question in QUESTIONS:
        while True:
            answer = str(typer.prompt(question.text, default=question.default, show_default=bool(question.default)))
            wrong = problem(question, answer, answers)
            if wrong is None:
                break
            console.print(f"  {wrong}", markup=False, style="yellow", soft_wrap=True)
        answers[question.section, question.key] = answer
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(toml_of(tables_of(answers)), encoding="utf-8")
    console.print(f"Written: {path}; run it again with: loopwright plan {path}", markup=False, soft_wrap=True)
    return path
