"""Start-up is a feature: a budget as a ratio to an interpreter that does nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 7


def best_ms(command: list[str]) -> float:
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append((time.perf_counter() - begin) * 1000)
    return min(times)


def test_import_costs_at_most_four_bare_interpreters() -> None:
    bare = best_ms([sys.executable, "-c", "pass"])
    assert best_ms([sys.executable, "-c", "import loopwright"]) <= 4 * bare


def test_help_costs_at_most_twelve_bare_interpreters() -> None:
    bare = best_ms([sys.executable, "-c", "pass"])
    assert best_ms([str(Path(sys.executable).parent / "loopwright"), "--help"]) <= 12 * bare
