"""Three times more requests than the server can carry: does it answer what it can, and refuse the rest quickly?

    python bench/overload.py [--seconds 60] [--work-ms 2]

One worker with a model that takes ``--work-ms`` for a batch of any size up to 8 rows (it computes, and does not sleep),
behind everything that the server has: routing, admission, metrics, the log on disk. Requests of one row are due at
constant rates (`serving_load.c`; latency counts from when they were due). First the closed loop on 64 connections finds
the capacity, then the open loop at 70 % of it the usual latency; then come three times the capacity for ``--seconds``,
and then 70 % again at once.

Printed are the goodput relative to the capacity, the latency of what was answered beside its bound (the queue's budget
of 100 ms and twice the usual p99), the codes of what was refused, whether each refusal says ``Retry-After``, how long a
refusal takes from when it was sent, how far the memory grew, and after how long the usual latency was back.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "serving"))

from serving_load import RETRY_AFTER, Found, Process, at_rate, closed, free_port, get, http_request, machine

BUDGET_MS = 100.0
BATCH_ROWS = 8
CONNECTIONS = 1024


def serve(folder: Path, port: int, work_ms: float) -> None:
    """Run the server with the model that takes its time."""
    import time  # noqa: PLC0415 - of the server alone

    import nonce_server  # noqa: PLC0415 - as above

    from loopwright.core.settings import Settings  # noqa: PLC0415 - as above
    from loopwright.core.storage.stores import open_stores  # noqa: PLC0415 - as above
    from loopwright.serving.deploy import online  # noqa: PLC0415 - as above
    from loopwright.serving.server.running import serve as run  # noqa: PLC0415 - as above
    from loopwright.serving.server_plan import ServerPlan  # noqa: PLC0415 - as above

    quick = nonce_server.NonceModel.predict
    size, took = 32, 0.0
    while took < work_ms / 1000:
        size += 16
        matrix = np.random.default_rng(0).normal(size=(size, size))
        took = min(_seconds(time.perf_counter, matrix) for _ in range(5))

    def predict(model: object, rows: object) -> object:
        matrix @ matrix  # one call outside the interpreter's lock, as that of a compiled model
        return quick(model, rows)

    nonce_server.NonceModel.predict = predict
    stores = open_stores(Settings.load(folder, environ={}))
    deployment = online(max_batch_rows=BATCH_ROWS)
    plan = ServerPlan(models={"nonce": deployment}, port=port, drain_delay_s=0)
    run(stores, nonce_server.FileSource(folder / "target.json"), plan)


def _seconds(clock: Callable[[], float], matrix: np.ndarray) -> float:
    began = clock()
    matrix @ matrix
    return clock() - began


def judge(name: str, figure: float, bound: float, unit: str, *, least: bool = False) -> None:
    """Print a figure beside its bound."""
    met = "met" if (figure >= bound if least else figure <= bound) else "missed"
    print(f"  {name:44} {figure:9.2f} {unit:4} ({'at least' if least else 'at most'} {bound:.2f}: {met})")


def back_after_s(found: Found, bound_ms: float) -> float:
    """Return when the last of the slow answers, or refusals, was due."""
    records = found.records
    slow = (records["status"] != 200) | (records["latency_ms"] > bound_ms)
    early = slow & (records["due_s"] < 0.5 * found.seconds)  # what comes later is the machine's doing
    return float(records["due_s"][early].max()) if early.any() else 0.0


def measure(server: Process, request: bytes, seconds: float) -> None:
    """Find the capacity, overload, and look how it recovers."""
    port = server.port
    closed(port, [request], 64, 2)
    capacity = closed(port, [request], 64, 5).rps
    usual = at_rate(port, [request], 0.7 * capacity, 5)
    p99 = usual.quantile_ms(0.99)
    print(f"capacity {capacity:.0f} requests/s; at 70 %: p50 {usual.quantile_ms(0.5):.2f} ms, p99 {p99:.2f} ms")
    before = server.memory_mib()
    load = at_rate(port, [request], 3 * capacity, seconds, connections=CONNECTIONS)
    grown = server.memory_mib() - before
    after = at_rate(port, [request], 0.7 * capacity, 5)
    refused = load.records[load.records["status"] == 429]
    others = {code: count for code, count in load.statuses().items() if code not in (200, 429)}
    print(f"{3 * capacity:.0f} requests/s for {seconds:g} s: {load.statuses()}")
    judge("goodput of the capacity", load.rps / capacity, 0.9, "", least=True)
    judge("p99 of what was answered", load.quantile_ms(0.99), BUDGET_MS + 2 * p99, "ms")
    judge("codes other than 200 and 429", sum(others.values()), 0, "")
    if len(refused):
        told = (refused["flags"] & RETRY_AFTER) != 0
        judge("refusals without Retry-After", float((~told).sum()), 0, "")
        for share in (0.5, 0.99):
            judge(
                f"a refusal, from when it was sent, p{100 * share:.0f}",
                float(np.quantile(refused["service_ms"], share)),
                5,
                "ms",
            )
    judge("memory grew by", grown, 50, "MiB")
    judge("usual latency back after", back_after_s(after, BUDGET_MS), 1, "s")


def main() -> None:
    """Measure, or serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--work-ms", type=float, default=2.0)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve, options.port, options.work_ms)
        return
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        (folder / "target.json").write_text(json.dumps({"champion": 1}))
        command = [sys.executable, __file__, "--serve", folder, "--port", str(port), "--work-ms", str(options.work_ms)]
        server = Process(command, port, get("/readyz"), folder / "log.txt")
        try:
            measure(server, http_request("/predict/nonce", b'{"x": 7}'), options.seconds)
        finally:
            server.stop()
    print(machine())


if __name__ == "__main__":
    main()
