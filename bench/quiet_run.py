"""A second `loopwright run` with nothing new: how long it takes to say so, and that it trained nothing.

    python bench/quiet_run.py [--rounds N]

Makes a project from the digits template in a temporary folder, writes its pictures, turns it once, and then runs
`loopwright run` again as a person would, a fresh process each time. Trainings are counted on record before and after.
The ratio is to an interpreter that does nothing, in the same rounds. There is no peer: none of them knows, for a whole
project, that nothing is new.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = str(Path(sys.executable).parent / "loopwright")
TARGET_S = 1.0


def once(command: list[str], folder: Path) -> tuple[float, float, str]:
    """Run a command in a folder; return wall seconds, processor seconds and what it said."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, done.stdout


def trainings(project: Path) -> int:
    _, _, said = once([COMMAND, "runs", "list", "--json"], project)
    return len(json.loads(said))


def verdict(met: bool) -> str:  # noqa: FBT001
    return "met" if met else "MISSED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        project = Path(name) / "digits"
        once([COMMAND, "init", str(project), "--template", "digits"], Path(name))
        once([sys.executable, "camera.py"], project)
        first, first_cpu, _ = once([COMMAND, "run"], project)
        before = trainings(project)
        quiet, bare = [], []
        for _ in range(options.rounds):
            wall, cpu, said = once([COMMAND, "run", "--json"], project)
            answer = json.loads(said)
            assert answer["nothing_new"] is True, said
            assert answer["trained"] is False, said
            quiet.append((wall, cpu))
            bare.append(once([sys.executable, "-c", "pass"], project)[:2])
        started = trainings(project) - before
    wall, cpu, bare_wall, bare_cpu = (
        statistics.median(found[place] for found in timings) for timings in (quiet, bare) for place in (0, 1)
    )
    print(f"first run, one turn               wall {first:7.2f} s   cpu {first_cpu:7.2f} s")
    print(
        f"next runs, nothing new (median)   wall {wall:7.2f} s   cpu {cpu:7.2f} s   "
        f"{wall / bare_wall:.1f} x wall {cpu / bare_cpu:.1f} x cpu of a bare interpreter; "
        f"1/{first / wall:.0f} of the first run"
    )
    print(f"trainings on record: {before} after the first run, {started} more after {options.rounds} further runs")
    load = os.getloadavg()[0]
    if load > (os.cpu_count() or 1):
        print(
            f"other work was running (load {load:.1f}): the ratios and the processor times (cpu) hold, the times do not"
        )
        said = f"{verdict(wall < TARGET_S)} in wall time, {verdict(cpu < TARGET_S)} in processor time"
    else:
        said = verdict(wall < TARGET_S)
    print(f"target: says so in < {TARGET_S:g} s: {said}; starts no training: {verdict(started == 0)}")


if __name__ == "__main__":
    main()
