"""Start-up is a feature: a budget as a ratio to an interpreter that does nothing.

Counted in processor time, which does not grow with what else the machine does; the smallest of several rounds.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

ROUNDS = 7
BARE = [sys.executable, "-c", "pass"]


def cost_s(command: list[str]) -> float:
    before = spent_s()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return spent_s() - before


def spent_s() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def ratio(command: list[str]) -> float:
    """Say how many bare interpreters a command costs, from rounds in turns."""
    rounds = [(cost_s(command), cost_s(BARE)) for _ in range(ROUNDS)]
    return min(ours for ours, _ in rounds) / min(bare for _, bare in rounds)


def test_import_costs_at_most_four_bare_interpreters() -> None:
    assert ratio([sys.executable, "-c", "import loopwright"]) <= 4


def test_help_costs_at_most_twelve_bare_interpreters() -> None:
    assert ratio([str(Path(sys.executable).parent / "loopwright"), "--help"]) <= 12
