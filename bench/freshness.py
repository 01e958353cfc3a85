"""From a pushed row to its value served, while ``loopwright up`` runs: how long, and does online equal offline?

    python bench/freshness.py [pushes]

A project with one pushed dataset, 20,000 rows and one view over the last 20 rows of a courier is started as it is in
production: server and controller. Rows are then pushed over HTTP one at a time; the clock runs from the answer 200 to
the first moment at which the online store gives the value that the row made (asked every five milliseconds). Median and
95th percentile are printed, with the processor time that both processes took per second while nothing came, and per
push; at the end ``features parity`` compares every online value with the offline join.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from loopwright.loop.daemon import server_state
from loopwright.loop.loading import load_loop
from loopwright.workspace import Workspace

PROJECT = """
import ibis
import loopwright as lw

loop = lw.Loop("couriers")
orders = loop.dataset("orders", source=lw.push(), event_time="at", key="id", contract=[
    lw.column("id", "int"), lw.column("courier", "int"), lw.column("at", "timestamp"), lw.column("km", "float"),
    lw.column("minutes", "float")])


@loop.features(orders, entity="courier", ttl="9999d")
def pace(orders):
    last_20 = ibis.window(group_by="courier", order_by="at", preceding=20, following=0)
    return orders.select("courier", "at", km=orders.km.mean().over(last_20), newest=orders.id)


@loop.model("eta", label=lw.label(orders.minutes, arrives_after="1h"), features=[orders.km, pace],
            holdout=lw.latest("1d"), metrics=["mae"])
def eta(train):
    from sklearn.linear_model import Ridge
    return Ridge().fit(train.X.fillna(0), train.y)


loop.deploy(eta, online=lw.online())
"""
ROWS, COURIERS = 20_000, 500


def row(number, at):
    return {"id": number, "courier": number % COURIERS, "at": at.isoformat(), "km": 1.0 + number % 9, "minutes": 5.0}


def seconds_of(processes):
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def main(pushes=200):
    with tempfile.TemporaryDirectory() as name:
        project = Path(name)
        (project / "loop.py").write_text(PROJECT)
        start = datetime.now(UTC) - timedelta(days=3)
        with Workspace.open(project) as workspace:
            loop = load_loop(project)
            rows = [row(number, start + timedelta(seconds=number)) for number in range(ROWS)]
            workspace.data.push(loop.datasets["orders"], rows)
        command = [Path(sys.executable).parent / "loopwright", "up", "--project", project]
        environment = {**os.environ, "LOOPWRIGHT_SERVING_PORT": "0"}
        with (project / "up.txt").open("w") as file:
            up = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
        try:
            with Workspace.open(project) as workspace:
                measure(project, workspace, load_loop(project), up, pushes)
        finally:
            up.terminate()
            up.wait()


def measure(project, workspace, loop, up, pushes):
    view = loop.views["pace"]

    def newest(courier):
        (found,) = workspace.features.get_online(view, [{"courier": courier}])
        return None if found is None else found["newest"]

    while newest(1) is None or (state := server_state(project / ".loopwright")) is None:
        time.sleep(0.1)
    children = psutil.Process(up.pid).children(recursive=True)
    time.sleep(3)
    before, began = seconds_of(children), time.perf_counter()
    time.sleep(5)
    idle = (seconds_of(children) - before) / (time.perf_counter() - began)
    waits = []
    door = http.client.HTTPConnection("127.0.0.1", int(state["port"]))
    before, began = seconds_of(children), time.perf_counter()
    for number in range(ROWS, ROWS + pushes):
        body = json.dumps({"rows": [row(number, datetime.now(UTC))]}).encode()
        door.request("POST", "/ingest/orders", body, {"Content-Type": "application/json"})
        assert json.load(door.getresponse())["accepted"] == 1
        accepted = time.perf_counter()
        while newest(number % COURIERS) != number:
            time.sleep(0.005)
        waits.append(time.perf_counter() - accepted)
        time.sleep(0.001 * (number * 37 % 250))  # at any place between two looks
    busy = (seconds_of(children) - before - idle * (time.perf_counter() - began)) / pushes
    door.close()
    waits.sort()
    print(
        f"{pushes} pushes into {ROWS:,} rows: accepted to served {statistics.median(waits) * 1e3:.0f} ms median, "
        f"{waits[int(0.95 * pushes)] * 1e3:.0f} ms p95, {waits[-1] * 1e3:.0f} ms at most"
    )
    print(f"processor time of server and controller: {idle:.3f} s/s with nothing new, {busy:.3f} s per push")
    snapshots = {"orders": workspace.data.snapshot("orders")}
    labels = (loop.models["eta"].label,)
    report = workspace.features.parity(view, snapshots, labels=labels, sample=COURIERS)
    print(f"parity: {report.values:,} values of {report.entities} entities, {len(report.differences)} different")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
