"""One turn in a process of its own: ``python -m loopwright.loop.turn_process PROJECT DECISION_ID``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from loopwright.loop.decisions import DecisionLog
from loopwright.loop.exit_code import exit_code_of
from loopwright.loop.loading import load_loop
from loopwright.loop.turn import run_turn
from loopwright.loop.turn_log import Cause, TurnLog
from loopwright.workspace import Workspace

if TYPE_CHECKING:
    from loopwright.loop.decisions import DecisionRecord
    from loopwright.loop.project import Loop
    from loopwright.loop.step import Listener
    from loopwright.loop.turn import TurnOutcome


def turn_for(
    loop: Loop, workspace: Workspace, decision: DecisionRecord, *, listener: Listener | None = None
) -> TurnOutcome:
    """Run the turn that a decision asks for, and record that it was; one that could not begin stays approved."""
    decisions = DecisionLog(workspace.stores)
    cause = Cause(decision.trigger, decision.text, decision.signals)
    try:
        return run_turn(loop, workspace, cause=cause, models=[decision.model], listener=listener)
    finally:
        begun = [turn for turn in TurnLog(workspace.stores).latest(loop.name, limit=5) if turn.cause == cause]
        if begun and begun[0].status != "running":
            decisions.turned(decision.id, begun[0].id)


def main() -> int:
    """Turn, and end with the exit code of what went wrong."""
    return exit_code_of(lambda: _turn(Path(sys.argv[1]), sys.argv[2]))


def _turn(project: Path, decision_id: str) -> None:
    with Workspace.open(project) as workspace:
        turn_for(load_loop(project), workspace, DecisionLog(workspace.stores).get(decision_id))


if __name__ == "__main__":
    sys.exit(main())
