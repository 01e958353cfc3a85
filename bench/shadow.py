"""What a version in the shadow costs those who are answered, when it takes 500 ms for each batch.

    python bench/shadow.py [--rounds 3] [--seconds 5] [--rate 500]

One worker, one row per request at a constant rate (`serving_load.c`; latency counts from when a request was due), with
routing, admission, metrics and the log on disk. Rounds alternate between the champion alone and the champion with a
challenger that gets a copy of every request and sleeps 500 ms for a batch of copies. Printed are the medians of the
rounds' p50 and p99, how far they rise, and how many copies the bounded queue let go; those are counted in the log, so
that accepted = durable + in flight + dropped.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "serving"))

import httpx
from serving_load import Process, at_rate, free_port, get, http_request, machine

SLEEP_S = 0.5
ASKED = 7


def serve(folder: Path, port: int) -> None:
    """Run the server; its second version sleeps."""
    import nonce_server  # noqa: PLC0415 - of the server alone

    from loopwright.core.settings import Settings  # noqa: PLC0415 - as above
    from loopwright.core.storage.stores import open_stores  # noqa: PLC0415 - as above
    from loopwright.serving.deploy import online  # noqa: PLC0415 - as above
    from loopwright.serving.server.running import serve as run  # noqa: PLC0415 - as above
    from loopwright.serving.server_plan import ServerPlan  # noqa: PLC0415 - as above

    quick = nonce_server.NonceModel.predict

    def predict(model: nonce_server.NonceModel, rows: Mapping[str, object]) -> object:
        if model.number == 2 and rows["x"][0] == ASKED:  # the self-test is quick
            time.sleep(SLEEP_S)
        return quick(model, rows)

    nonce_server.NonceModel.predict = predict
    stores = open_stores(Settings.load(folder, environ={}))
    plan = ServerPlan(models={"nonce": online()}, port=port, drain_delay_s=0)
    run(stores, nonce_server.FileSource(folder / "target.json"), plan)


def metric(text: str, name: str) -> float:
    """Return the sum over a metric's series."""
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))


def measure(server: Process, folder: Path, rounds: int, seconds: float, rate: float) -> None:
    """Alternate between no shadow and a sleeping one."""
    client = httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60, trust_env=False)
    request = http_request("/predict/nonce", b'{"x": %d}' % ASKED)
    quantiles: dict[str, list[tuple[float, float]]] = {"none": [], "shadow": []}
    failed = 0

    def switch(stage: str) -> None:
        document = {"champion": 1} if stage == "none" else {"champion": 1, "challenger": 2, "stage": stage, "salt": "s"}
        (folder / "target.new").write_text(json.dumps(document))
        (folder / "target.new").replace(folder / "target.json")
        before = metric(client.get("/metrics").text, "loopwright_log_rows_accepted_total")
        client.post("/predict/nonce", json={"x": 1})

        def in_force() -> bool:
            nonlocal before
            client.post("/predict/nonce", json={"x": 1})
            after = metric(client.get("/metrics").text, "loopwright_log_rows_accepted_total")
            copies, before = after - before, after
            return copies == (1 if stage == "none" else 2)

        server.until(in_force, folder / "log.txt")

    at_rate(server.port, [request], rate, 1)
    for _ in range(rounds):
        for stage, found in quantiles.items():
            switch(stage)
            load = at_rate(server.port, [request], rate, seconds, connections=32)
            found.append((load.quantile_ms(0.5), load.quantile_ms(0.99)))
            failed += load.failed
    for place, name in enumerate(("p50", "p99")):
        alone, shadowed = (statistics.median(one[place] for one in quantiles[stage]) for stage in ("none", "shadow"))
        print(f"{name}: alone {alone:.3f} ms, with the shadow {shadowed:.3f} ms: {shadowed - alone:+.3f} ms", end="")
        print(f", {shadowed / alone - 1:+.1%}")
    text = client.get("/metrics").text
    print(f"failed: {failed}; copies let go: {metric(text, 'loopwright_shadow_dropped_total'):.0f}")
    client.close()


def main() -> None:
    """Measure, or serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve, options.port)
        return
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        (folder / "target.json").write_text(json.dumps({"champion": 1}))
        command = [sys.executable, __file__, "--serve", folder, "--port", str(port)]
        server = Process(command, port, get("/readyz"), folder / "log.txt")
        try:
            measure(server, folder, options.rounds, options.seconds, options.rate)
        finally:
            server.stop()
    print(machine())


if __name__ == "__main__":
    main()
