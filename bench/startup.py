"""Start-up: `import loopwright`, `loopwright --help`, beside an interpreter that does nothing and the peers' imports.

    python bench/startup.py                    # the peers where other benchmarks made their environments
    python bench/startup.py --install-peers    # makes bench/.envs/mlflow and bench/.envs/dagster first

Every command is a fresh process. Rounds go through all commands in turn, so that a busy moment meets each of them; the
median and the best are printed, with the processor time of the process. Ratios are to `python -c pass` of the same
environment, in wall and in processor time.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVS = HERE / ".envs"
PEERS = {"mlflow": ("mlflow", "scikit-learn"), "dagster": ("dagster",)}
BARE = "python -c pass"
TARGETS_MS = {"import loopwright": 100.0, "loopwright --help": 300.0}


def commands() -> dict[str, tuple[str, list[str]]]:
    """Return each command with the label of the bare interpreter that it is compared with."""
    found: dict[str, tuple[str, list[str]]] = {
        BARE: (BARE, [sys.executable, "-c", "pass"]),
        "import loopwright": (BARE, [sys.executable, "-c", "import loopwright"]),
        "loopwright --help": (BARE, [str(Path(sys.executable).parent / "loopwright"), "--help"]),
    }
    for name in PEERS:
        python = str(ENVS / name / "bin" / "python")
        if Path(python).exists():
            bare = f"{BARE} ({name}'s environment)"
            found[bare] = (bare, [python, "-c", "pass"])
            found[f"import {name}"] = (bare, [python, "-c", f"import {name}"])
            found[f"{name} --help"] = (bare, [str(ENVS / name / "bin" / name), "--help"])
        else:
            print(f"{name} is not compared: run with --install-peers once.")
    return found


def once(command: list[str]) -> tuple[float, float]:
    """Run a command and return its wall and processor time in ms."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * wall, 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--install-peers", action="store_true", help="make the peers' environments first")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if options.install_peers:
        for name, packages in PEERS.items():
            subprocess.run([sys.executable, "-m", "venv", ENVS / name], check=True)
            subprocess.run([ENVS / name / "bin" / "python", "-m", "pip", "install", "-q", *packages], check=True)
    table = commands()
    for _, command in table.values():
        once(command)  # fills the file cache and compiles what was never imported
    times: dict[str, list[tuple[float, float]]] = {label: [] for label in table}
    for _ in range(options.rounds):
        for label, (_, command) in table.items():
            times[label].append(once(command))
    wall = {label: statistics.median(ms for ms, _ in found) for label, found in times.items()}
    cpu = {label: statistics.median(ms for _, ms in found) for label, found in times.items()}
    print(f"{options.rounds} rounds, Python {sys.version.split()[0]}:")
    for label, (bare, _) in table.items():
        best = min(ms for ms, _ in times[label])
        print(
            f"{label:40} median {wall[label]:8.1f} ms   best {best:8.1f} ms   cpu {cpu[label]:8.1f} ms   "
            f"{wall[label] / wall[bare]:6.1f} x wall {cpu[label] / cpu[bare]:6.1f} x cpu of bare"
        )
    for name in PEERS:
        for ours, theirs in (("import loopwright", f"import {name}"), ("loopwright --help", f"{name} --help")):
            if theirs in wall:
                print(f"{theirs} / {ours}: {wall[theirs] / wall[ours]:.1f} x wall, {cpu[theirs] / cpu[ours]:.1f} x cpu")
    load = os.getloadavg()[0]
    if load > (os.cpu_count() or 1):
        print(
            f"other work was running (load {load:.1f}): the ratios and the processor times (cpu) hold, the times do not"
        )
    for label, target_ms in TARGETS_MS.items():
        print(f"target: {label} < {target_ms:g} ms: {'met' if wall[label] < target_ms else 'MISSED'}")


if __name__ == "__main__":
    main()
