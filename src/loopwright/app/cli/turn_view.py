"""Show a turn while it runs: one line a step, live in a terminal, plain in a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from loopwright.core.durations import format_duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from loopwright.loop.step import StepEvent


_BAR_WIDTH = 20


class TurnView:
    """A listener that prints."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._step = ""

    def __call__(self, event: StepEvent) -> None:
        """Show one event."""
        if event.kind == "started":
            self._step = event.step
            self._show(event.step)
        elif event.kind == "progress":
            self._show(f"{self._step}: {event.text}{bar(event.fraction)}")
        else:
            self.close()
            self._console.print(_line(event))
            for warning in _warnings(event):
                self._console.print(f"      [yellow]{escape(warning)}[/]")

    def close(self) -> None:
        """Take the live line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _show(self, text: str) -> None:
        if not self._console.is_terminal:
            return
        shown = text if len(text) <= self._console.width - 4 else text[: self._console.width - 5] + "…"
        if self._status is None:
            self._status = self._console.status(shown)
            self._status.start()
        else:
            self._status.update(shown)


def bar(fraction: float | None) -> str:
    """Draw how far a step is; nothing where that is not known.

    >>> bar(0.5)
    ' ██████████░░░░░░░░░░ 50%'
    """
    if fraction is None:
        return ""
    filled = round(min(max(fraction, 0.0), 1.0) * _BAR_WIDTH)
    return f" {'█' * filled}{'░' * (_BAR_WIDTH - filled)} {fraction:.0%}"


def _line(event: StepEvent) -> str:
    """Return the line of an ended step; why one failed is said once, by who catches the error."""
    sign = {"finished": "[green]✓[/]", "reused": "[dim]=[/]", "failed": "[red]✗[/]"}[event.kind]
    took = f" [dim]{format_duration(event.seconds)}[/]" if event.kind != "reused" else " [dim](unchanged)[/]"
    text = "failed" if event.kind == "failed" else str(event.output.get("summary", ""))
    return f"  {sign} {event.step:<28} {escape(text)}{took}"


def _warnings(event: StepEvent) -> list[str]:
    found = event.output.get("warnings") if event.kind == "finished" else None
    return [str(warning) for warning in found] if isinstance(found, list) else []
