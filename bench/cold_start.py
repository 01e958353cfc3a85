# ruff: noqa: PLC0415 - each role imports what it needs
"""From the start of the process to ready: a scikit-learn model behind one process and behind two workers.

    python bench/cold_start.py [--rounds 5]

The model of ``bench/serving.py`` (histogram gradient boosting, 10 features, compiled), registered and promoted. Each
round starts a server process anew and asks ``/readyz`` until it says yes, then asks for one prediction; rounds
alternate between one process and two workers. Printed are medians: seconds to listening, to ready, to the first answer,
processor seconds of all processes to then, and the modules among the heavy ones that were imported. Then, for two
workers: seconds from SIGKILL of one until another answers in its place.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
HEAVY = ("pandas", "sklearn", "scipy", "ibis", "duckdb", "torch", "xgboost", "lightgbm", "onnxruntime")
TARGET_S = 1.5


def run_server(folder: Path, workers: int, port: int) -> None:
    from loopwright.core.settings import Settings
    from loopwright.core.storage.stores import open_stores
    from loopwright.serving.deploy import online
    from loopwright.serving.models.model_source import RegistrySource
    from loopwright.serving.server_plan import ServerPlan
    from loopwright.serving.workers.group import serve_group
    from loopwright.serving.workers.seat import ServerParts

    def open_parts() -> ServerParts:
        stores = open_stores(Settings.load(folder, environ={}))
        return ServerParts(stores, RegistrySource(stores))

    state = folder / "server.json"
    plan = ServerPlan(models={"eta": online()}, workers=workers, port=port, state_file=state, drain_delay_s=0)
    serve_group(open_parts, plan)
    heavy = [name for name in HEAVY if name in sys.modules]
    (folder / "imported.json").write_text(json.dumps(heavy))


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    door = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        door.request(method, path, body, {"content-type": "application/json"})
        answer = door.getresponse()
        return answer.status, answer.read()
    finally:
        door.close()


def until(true: object, seconds: float = 60.0) -> float:
    ends = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        if time.monotonic() > ends:
            raise SystemExit("the server did not come up")
        time.sleep(0.003)
    return time.monotonic()


def answers(port: int, path: str) -> bool:
    try:
        return ask(port, "GET", path)[0] == 200
    except OSError:
        return False


def ready_workers(port: int) -> int:
    try:
        text = ask(port, "GET", "/metrics")[1].decode()
    except (OSError, http.client.HTTPException):
        return 0
    lines = (line for line in text.splitlines() if line.startswith("loopwright_workers_ready "))
    return int(float(next(lines, "x 1").rpartition(" ")[2]))


def once(folder: Path, workers: int) -> dict[str, float]:
    state = folder / "server.json"
    environment = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **os.environ}
    began = time.monotonic()
    command = [sys.executable, __file__, "--serve", str(folder), "--workers", str(workers)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        found = {"listening_s": until(state.exists) - began}
        port = json.loads(state.read_text())["port"]
        found["ready_s"] = until(lambda: answers(port, "/readyz")) - began
        row = json.dumps({"rows": [{f"x{number}": 0.1 * number for number in range(10)}]}).encode()
        status, _ = ask(port, "POST", "/predict/eta", row)
        if status != 200:
            raise SystemExit(f"the first answer was {status}")
        found["answer_s"] = time.monotonic() - began
        if workers > 1:
            found["all_ready_s"] = until(lambda: ready_workers(port) == workers) - began
        everybody = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        found["cpu_s"] = sum(sum(process.cpu_times()[:2]) for process in everybody)
        if workers > 1:
            victim = json.loads(state.read_text())["workers"][0]
            killed = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            until(lambda: victim not in json.loads(state.read_text())["workers"])
            found["respawned_s"] = time.monotonic() - killed
            found["back_s"] = until(lambda: ready_workers(port) == workers) - killed
        server.terminate()
        server.wait(60)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        run_server(options.serve, options.workers, options.port)
        return
    sys.path.insert(0, str(HERE))
    from serving import prepare

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        rounds: dict[int, list[dict[str, float]]] = {1: [], 2: []}
        for _ in range(options.rounds):
            for workers, found in rounds.items():
                found.append(once(folder, workers))
        for workers, found in rounds.items():
            medians = {key: statistics.median(each[key] for each in found) for key in found[0]}
            print(f"{workers} worker{'s' * (workers > 1)}: {json.dumps({k: round(v, 3) for k, v in medians.items()})}")
            met = "met" if medians["ready_s"] <= TARGET_S else "missed"
            print(f"  ready within {TARGET_S} s: {met}; best {min(each['ready_s'] for each in found):.3f} s")
        print(f"imported by the process that was started: {json.loads((folder / 'imported.json').read_text())}")
        print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
