"""One row of a boosted model per request, by many callers: what computing their calls together brings.

    python bench/batching.py [--rounds 3] [--seconds 2]

XGBoost with 300 trees of depth 6 on 50 features, registered and compiled as any model; one worker with log and metrics.
The same server with batching (the default) and with batches of one row, in alternating rounds of a closed loop
(`serving_load.c`) on 32 and on 64 connections. Medians of the rounds; ``cpu`` is the server's processor time for each
request.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from serving_load import Process, closed, free_port, get, http_request, machine

MODEL = "xgboost"
CONNECTIONS = (32, 64)
KINDS = ("batched", "one by one")


def serve(folder: Path, port: int, rows: int | None) -> None:
    """Run the server."""
    from loopwright.core.settings import Settings  # noqa: PLC0415 - of the server alone
    from loopwright.core.storage.stores import open_stores  # noqa: PLC0415 - as above
    from loopwright.serving.deploy import online  # noqa: PLC0415 - as above
    from loopwright.serving.models.model_source import RegistrySource  # noqa: PLC0415 - as above
    from loopwright.serving.server.running import serve as run  # noqa: PLC0415 - as above
    from loopwright.serving.server_plan import ServerPlan  # noqa: PLC0415 - as above

    stores = open_stores(Settings.load(folder, environ={}))
    plan = ServerPlan(models={MODEL: online(max_batch_rows=rows)}, port=port, drain_delay_s=0)
    run(stores, RegistrySource(stores), plan)


def measure(servers: dict[str, Process], request: bytes, rounds: int, seconds: float) -> None:
    """Print requests a second and latencies."""
    for connections in CONNECTIONS:
        found: dict[str, list[tuple[float, ...]]] = {kind: [] for kind in KINDS}
        for kind in KINDS:
            closed(servers[kind].port, [request], connections, 1)
        for _ in range(rounds):
            for kind, server in servers.items():
                before = server.cpu_s()
                load = closed(server.port, [request], connections, seconds)
                cpu_us = 1e6 * (server.cpu_s() - before) / max(len(load.answered), 1)
                found[kind].append((load.rps, load.quantile_ms(0.5), load.quantile_ms(0.99), cpu_us, load.failed))
        medians = {kind: [statistics.median(column) for column in zip(*found[kind], strict=True)] for kind in KINDS}
        for kind, (rps, p50, p99, cpu, failed) in medians.items():
            print(f"{connections} connections, {kind:10}: {rps:7,.0f} requests/s", end="")
            print(f", p50 {p50:.2f} ms, p99 {p99:.2f} ms, {cpu:.0f} us cpu, {failed:.0f} failed")
        batched, single = (medians[kind] for kind in KINDS)
        print(
            f"  batching: {batched[0] / single[0]:.2f} x by requests, {single[3] / batched[3]:.2f} x by processor time"
        )


def main() -> None:
    """Measure, or serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve, options.port, options.rows)
        return
    here = Path(__file__)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        servers: dict[str, Process] = {}
        for kind in KINDS:
            home = folder / kind.replace(" ", "-")
            home.mkdir()
            prepare = [sys.executable, here.with_name("compiled.py"), "--prepare", home, "--models", MODEL]
            said = subprocess.run(prepare, check=True, capture_output=True, text=True).stdout
            port = free_port()
            command = [sys.executable, here, "--serve", home, "--port", str(port)]
            command += [] if kind == "batched" else ["--rows", "1"]
            servers[kind] = Process(command, port, get("/readyz"), home / "log.txt")
            stack.callback(servers[kind].stop)
        print(said.strip())
        from compiled import MODELS  # noqa: PLC0415 - imports NumPy and more, which a server need not have

        _, columns, _ = MODELS[MODEL]()
        row = {column: float(values[0]) for column, values in columns.items()}
        body = json.dumps({"rows": [row]}).encode()
        measure(servers, http_request(f"/predict/{MODEL}", body), options.rounds, options.seconds)
    print(machine())


if __name__ == "__main__":
    main()
