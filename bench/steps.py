# ruff: noqa: PLC0415 - what a first call imports is kept out of what is timed
"""Overhead of one step of a turn that does nothing, beside an op of a Dagster job that does nothing.

    python bench/steps.py                    # ours, and Dagster's where its environment is there
    python bench/steps.py --install-peers    # makes bench/.envs/dagster first

Ours runs over a real embedded store in a temporary folder, opened before the clock starts: a turn of so many steps that
run, keyed and not; a later turn that finds each of them done; and the same turn taken up again. Dagster runs a job of
as many independent ops: in one process without storage, in one process on its SQLite storage, and, with a tenth of the
ops, through the executor that its command line uses by default, a process per op. All of it is divided by the number of
steps. Rounds alternate between the two; medians are printed, with processor time (children included) beside wall time.
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

HERE = Path(__file__).resolve().parent
PEER = HERE / ".envs" / "dagster"
TARGET_MS = 5.0
OURS = ("run, no key", "run, with a key", "reused by a later turn", "found done on resuming")


def cpu_seconds() -> float:
    """Return the processor time that this process and its finished children used."""
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in spent)


def timed(action, steps: int) -> dict[str, float]:
    started, cpu_started = time.perf_counter(), cpu_seconds()
    action()
    wall, cpu = time.perf_counter() - started, cpu_seconds() - cpu_started
    return {"wall_ms": 1000 * wall / steps, "cpu_ms": 1000 * cpu / steps}


def ours(folder: Path, steps: int) -> dict[str, dict[str, float]]:
    """Time the four cases once."""
    from loopwright.core.settings import Settings
    from loopwright.core.storage.stores import open_stores
    from loopwright.loop.step import StepRunner
    from loopwright.loop.turn_log import MANUAL, TurnLog

    stores = open_stores(Settings.load(folder, environ={}))
    log = TurnLog(stores)

    def turn(*, keyed: bool, close: bool = True) -> list[str]:
        runner = StepRunner(log, log.begin("bench", (), MANUAL), stores.clock, lambda _: None)
        for number in range(steps):
            runner.run(f"step {number}", lambda _: {"rows": 1}, key=f"{number:064d}" if keyed else None)
        if close:
            log.finish(runner.turn.id, "finished", {})
        return runner.reused

    def turn_that_reuses(*, close: bool = True) -> None:
        assert len(turn(keyed=True, close=close)) == steps

    try:
        return {
            OURS[0]: timed(lambda: turn(keyed=False), steps),
            OURS[1]: timed(lambda: turn(keyed=True), steps),
            OURS[2]: timed(lambda: turn_that_reuses(close=False), steps),
            OURS[3]: timed(turn_that_reuses, steps),
        }
    finally:
        stores.close()


PEER_MODULE = """
import json, logging, os, sys, tempfile, warnings
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
sys.path.insert(0, os.environ["BENCH_FOLDER"])
from steps import timed
import dagster
from dagster import DagsterInstance, execute_job, job, op, reconstructable

STEPS = int(os.environ["BENCH_STEPS"])


def nothing(number):
    @op(name=f"step_{number}")
    def step():
        return 1
    return step


@job
def many():
    for number in range(STEPS):
        nothing(number)()


@job
def fewer():
    for number in range(max(1, STEPS // 10)):
        nothing(number)()


def in_process(instance):
    assert many.execute_in_process(instance=instance).success


def main():
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        with DagsterInstance.ephemeral() as instance:
            fewer.execute_in_process(instance=instance)
            found["dagster, one process, no storage"] = timed(lambda: in_process(instance), STEPS)
        with DagsterInstance.local_temp(folder) as instance:
            fewer.execute_in_process(instance=instance)
            found["dagster, one process, SQLite"] = timed(lambda: in_process(instance), STEPS)
            if os.environ["BENCH_DEFAULT"] == "1":
                def default():
                    with execute_job(reconstructable(fewer), instance=instance) as result:
                        assert result.success
                found["dagster, default executor"] = timed(default, max(1, STEPS // 10))
    print("RESULT" + json.dumps({"version": dagster.__version__, "found": found}))


if __name__ == "__main__":
    main()
"""


def peer(steps: int, *, default_executor: bool) -> tuple[str, dict[str, dict[str, float]]]:
    """Time Dagster once, in its own environment; the process per op only where asked, since it takes long."""
    with tempfile.TemporaryDirectory() as name:
        module = Path(name) / "dagster_steps.py"
        module.write_text(PEER_MODULE)
        environment = os.environ | {
            "BENCH_FOLDER": str(HERE),
            "BENCH_STEPS": str(steps),
            "BENCH_DEFAULT": "1" if default_executor else "0",
            "DAGSTER_DISABLE_TELEMETRY": "1",
        }
        environment.pop("DAGSTER_HOME", None)
        command = [PEER / "bin" / "python", module]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=name)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not lines:
        raise SystemExit(f"Dagster's part failed:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
    answer = json.loads(lines[0].removeprefix("RESULT"))
    return answer["version"], answer["found"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--install-peers", action="store_true", help="make bench/.envs/dagster first")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.install_peers:
        subprocess.run([sys.executable, "-m", "venv", PEER], check=True)
        subprocess.run([PEER / "bin" / "python", "-m", "pip", "install", "-q", "dagster"], check=True)
    rounds: dict[str, list[dict[str, float]]] = {}
    version = None
    with tempfile.TemporaryDirectory() as warm:
        ours(Path(warm), 5)
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as name:
            found = ours(Path(name), options.steps)
        if PEER.exists():
            version, theirs = peer(options.steps, default_executor=number == 0)
            found |= theirs
        for label, timing in found.items():
            rounds.setdefault(label, []).append(timing)
    if version is None:
        print("Dagster is not compared: run with --install-peers once.")
    medians = {
        label: {key: statistics.median(timing[key] for timing in timings) for key in ("wall_ms", "cpu_ms")}
        for label, timings in rounds.items()
    }
    base = medians[OURS[1]]
    print(
        f"{options.steps} steps, {options.rounds} rounds{'' if version is None else f', Dagster {version}'}; per step:"
    )
    for label, timing in medians.items():
        ratios = f"{timing['wall_ms'] / base['wall_ms']:7.1f} x wall {timing['cpu_ms'] / base['cpu_ms']:7.1f} x cpu"
        print(f"{label:34} wall {timing['wall_ms']:8.2f} ms   cpu {timing['cpu_ms']:8.2f} ms   {ratios}")
    load = os.getloadavg()[0]
    if load > (os.cpu_count() or 1):
        print(
            f"other work was running (load {load:.1f}): the ratios and the processor times (cpu) hold, the times do not"
        )
    worst = max(medians[label]["wall_ms"] for label in OURS)
    print(f"target: overhead per trivial step < {TARGET_MS:g} ms: {'met' if worst < TARGET_MS else 'MISSED'}")


if __name__ == "__main__":
    main()
