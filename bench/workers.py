"""What a group of worker processes promises: restarts, kills, scrapes, and what a second worker adds.

    python bench/workers.py [--seconds 1.5] [--requests 10000]

The server of the first three is that of the tests (``tests/serving/nonce_server.py``) with 2 workers, the log and the
metrics on. Its clients are this process's asyncio connections, which go elsewhere when a server says
``Connection: close``, and check that each answer is that of the version it names.

1. Rolling restarts (SIGHUP), one after the other, while ``--requests`` requests are asked; then SIGTERM under load: how
   many requests failed.
2. SIGKILL of a worker under load, on as many connections as there are workers and on 8: failed requests (a connection
   of the killed worker has at most one in flight), seconds until another process is there, and until it is ready.
3. Scrapes of the metrics of all workers, under load and without: milliseconds, and the processor time of all processes.
4. Requests per second of 1 and of 2 workers with the model of ``bench/serving.py`` and 1, 20 and 200 rows per request,
   in alternating rounds, by the client in C. Client and two workers are three processes: on 2 cores the client takes
   its share, which is printed. ``per processor second`` is what a core carries: where it is the same with 2 workers as
   with 1, they hinder each other in nothing but the cores.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent))

from serving_load import QUIET, Process, burst, closed, free_port, get, http_request, machine

SERVER = Path(__file__).resolve().parent.parent / "tests" / "serving" / "nonce_server.py"
COLD_START = Path(__file__).with_name("cold_start.py")


class Group:
    """The server of the tests on a folder of its own."""

    def __init__(self, **options: object) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="workers-"))
        self.target(1)
        command = [sys.executable, str(SERVER), str(self.folder), json.dumps(options)]
        with (self.folder / "log.txt").open("wb") as log:
            self.process = subprocess.Popen(command, env={**os.environ, **QUIET}, stdout=log, stderr=log)
        self.state = self.folder / "serving.json"
        self.until(self.state.exists)
        self.port = int(json.loads(self.state.read_text())["port"])
        self.until(lambda: self.get("/readyz")[0] == 200)
        count = int(str(options.get("workers", 1)))
        if count > 1:
            self.until(lambda: self.ready() == count)

    def target(self, version: int, **more: object) -> None:
        """Say what is to be in force."""
        unborn = self.folder / "target.new"
        unborn.write_text(json.dumps({"champion": version, **more}))
        unborn.replace(self.folder / "target.json")

    def workers(self) -> list[int]:
        """Return the processes that answer."""
        return list(json.loads(self.state.read_text())["workers"])

    def get(self, path: str) -> tuple[int, str]:
        """Ask once, on a connection of its own; 0 where it was cut off."""
        door = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            door.request("GET", path)
            answer = door.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            door.close()

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        lines = (line for line in self.get("/metrics")[1].splitlines() if line.startswith((name + " ", name + "{")))
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def ready(self) -> int:
        """Return how many workers are ready."""
        return int(self.metric("loopwright_workers_ready"))

    def cpu_s(self) -> float:
        """Return the processor time so far of all that live."""
        everybody = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        return sum(sum(each.cpu_times()[:2]) for each in everybody)

    def until(self, true: object) -> float:
        """Wait until something is true; return the moment."""
        ends = time.monotonic() + 60
        while not true():  # type: ignore[operator]
            if self.process.poll() is not None or time.monotonic() > ends:
                raise SystemExit((self.folder / "log.txt").read_text())
            time.sleep(0.002)
        return time.monotonic()

    async def until_async(self, true: object) -> float:
        """Do the same, off the event loop."""
        return await asyncio.to_thread(self.until, true)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(60)
        shutil.rmtree(self.folder)


class Clients:
    """Connections that ask one request after another, all together at most ``rate`` a second where that is given."""

    def __init__(self, port: int, connections: int, *, rate: float | None = None) -> None:
        self.port = port
        self.answered = 0
        self.failed = 0
        self.wrong = 0
        self.recent: deque[tuple[float, int, float]] = deque(maxlen=200_000)  # moment, version, seconds
        self.stopping = False
        self._pause = None if rate is None else connections / rate
        self._tasks = [asyncio.create_task(self._ask(number)) for number in range(connections)]

    async def _ask(self, number: int) -> None:
        x = number
        due = time.monotonic()
        while not self.stopping:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            try:
                closes = False
                while not closes and not self.stopping:
                    if self._pause is not None:
                        due = max(due + self._pause, time.monotonic() - 0.1)
                        await asyncio.sleep(max(0.0, due - time.monotonic()))
                    x = (x + 7) % 900
                    closes = await self._one(reader, writer, x)
            except (OSError, asyncio.IncompleteReadError):
                self.failed += 1
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, x: int) -> bool:
        body = b'{"x":%d}' % x
        head = b"POST /predict/nonce HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n"
        began = time.monotonic()
        writer.write(head + b"content-length: %d\r\n\r\n%s" % (len(body), body))
        found = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(re.search(rb"content-length: (\d+)", found)[1])  # type: ignore[index]
        document = json.loads(await reader.readexactly(length))
        version = document.get("version")
        if version is None:
            self.failed += 1
        elif document["predictions"] != [x + 1000.0 * version]:
            self.wrong += 1
        else:
            ended = time.monotonic()
            self.answered += 1
            self.recent.append((ended, version, ended - began))
        return b"connection: close" in found

    async def anew(self) -> None:
        """Connect again, as a client does whose connections are closed now and then."""
        await self.stop()
        self.stopping = False
        self._tasks = [asyncio.create_task(self._ask(number)) for number in range(len(self._tasks))]

    async def stop(self) -> None:
        """Ask no more."""
        self.stopping = True
        await asyncio.gather(*self._tasks)


async def restarts(requests: int) -> None:
    """Replace all workers again and again under load, then end the server under load."""
    server = Group(workers=2, drain_delay_s=0.3)
    clients = Clients(server.port, 8)
    rolled = 0
    while clients.answered < requests or not rolled:
        before = set(server.workers())
        server.process.send_signal(signal.SIGHUP)
        await server.until_async(lambda before=before: not before & set(server.workers()) and server.ready() == 2)
        rolled += 1
    await clients.stop()
    print(
        f"rolling restart: {clients.failed} failed, {clients.wrong} wrong of {clients.answered}, over {rolled} restarts"
        f" of 2 workers"
    )
    clients = Clients(server.port, 8)
    await asyncio.sleep(0.5)
    server.process.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(server.process.wait, 60)
    await clients.stop()
    print(f"SIGTERM under load: {clients.failed} failed of {clients.answered}, exit code {code}")
    shutil.rmtree(server.folder)


async def kills(connections: int, times: int = 5) -> None:
    """Kill a worker under load, several times."""
    server = Group(workers=2)
    gone, back, failed = [], [], []
    clients = Clients(server.port, connections)
    for _ in range(times):
        await clients.anew()
        await asyncio.sleep(2.5)  # a worker that lived for less than 2 s is replaced with a pause
        victim, before = server.workers()[0], clients.failed
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        gone.append(await server.until_async(lambda v=victim: v not in server.workers() and len(server.workers()) == 2))
        gone[-1] -= killed
        back.append(await server.until_async(lambda: server.ready() == 2) - killed)
        failed.append(clients.failed - before)
    await clients.stop()
    print(
        f"SIGKILL of one of 2 workers, {connections} connections: failed {failed} of {clients.answered}, wrong"
        f" {clients.wrong}; another process after {burst(gone)} s, ready after {burst(back)} s"
    )
    rows = {
        name: server.metric(f"loopwright_log_rows_{name}")
        for name in ("accepted_total", "durable_total", "in_flight", "dropped_total")
    }
    print(f"  rows after the kills: {rows}")
    server.stop()


async def scrapes() -> None:
    """Read the metrics of all, under load and without."""
    server = Group(workers=2)
    clients = Clients(server.port, 8, rate=500)
    await asyncio.sleep(1)

    def read(count: int) -> tuple[list[float], float]:
        times, before = [], server.cpu_s()
        for _ in range(count):
            began = time.monotonic()
            server.get("/metrics")
            times.append(1000 * (time.monotonic() - began))
        return sorted(times), 1000 * (server.cpu_s() - before) / count

    busy, _ = await asyncio.to_thread(read, 50)
    await clients.stop()
    quiet, cost = await asyncio.to_thread(read, 100)
    for said, times in (("at 500 requests/s", busy), ("without load", quiet)):
        half, most = times[len(times) // 2], times[int(len(times) * 0.95)]
        print(f"scrape of 2 workers {said}: median {half:.1f} ms, p95 {most:.1f} ms, most {times[-1]:.1f} ms")
    print(f"  processor time of all processes per scrape: {cost:.1f} ms")
    server.stop()


def throughput(seconds: float, rounds: int) -> None:
    """Compare 1 and 2 workers."""
    from serving import prepare  # noqa: PLC0415 - brings scikit-learn

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers: dict[int, Process] = {}
        try:
            for workers in (1, 2):
                own = folder / str(workers)
                own.mkdir()
                prepare(own)
                port = free_port()
                command = [sys.executable, COLD_START, "--serve", own, "--workers", str(workers), "--port", str(port)]
                servers[workers] = Process(command, port, get("/readyz"), own / "log.txt")
            time.sleep(2)  # for the second worker
            for rows, connections in ((1, 64), (20, 32), (200, 4)):
                compare(servers, rows, connections, seconds, rounds)
        finally:
            for server in servers.values():
                server.stop()


def compare(servers: dict[int, Process], rows: int, connections: int, seconds: float, rounds: int) -> None:
    """Compare the servers at so many rows per request."""
    from serving import NAMES  # noqa: PLC0415 - as above

    row = {each: 0.1 * position for position, each in enumerate(NAMES)}
    request = http_request("/predict/eta", json.dumps({"rows": [row] * rows}).encode())
    found: dict[int, list[tuple[float, ...]]] = {1: [], 2: []}
    for turn in range(rounds + 1):
        for workers, server in servers.items():
            before, own_before = server.cpu_s(), _client_s()
            load = closed(server.port, [request], connections, seconds)
            if turn:  # the first warms up
                used, client = server.cpu_s() - before, (_client_s() - own_before) / seconds
                share = load.failed / len(load.records)  # refused: more waits than the queue's budget allows
                found[workers].append((load.rps, len(load.answered) / used, used / seconds, client, share))
    medians = {each: [statistics.median(part) for part in zip(*found[each], strict=True)] for each in found}
    print(f"\n{rows} row(s) per request, {connections} connections, median of {rounds} rounds of {seconds:g} s")
    for workers, (rate, carried, cores, client, share) in medians.items():
        print(
            f"  {workers} worker(s) {rate:8.0f} requests/s on {cores:.2f} cores (client {client:.2f})"
            f"   {carried:8.0f} per processor second" + (f"   refused {share:.1%}" if share else "")
        )
    one, two = medians[1], medians[2]
    best = max(each[0] for each in found[2]) / max(each[0] for each in found[1])
    print(
        f"  2 / 1      requests/s {two[0] / one[0]:.2f} (best rounds {best:.2f})"
        f"   per processor second {two[1] / one[1]:.2f}"
    )


def _client_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # the load generators that have ended
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--only", choices=("restarts", "kills", "scrapes", "throughput"))
    options = parser.parse_args()
    if options.only in (None, "restarts"):
        asyncio.run(restarts(options.requests))
    if options.only in (None, "kills"):
        asyncio.run(kills(2))
        asyncio.run(kills(8))
    if options.only in (None, "scrapes"):
        asyncio.run(scrapes())
    if options.only in (None, "throughput"):
        throughput(options.seconds, options.rounds)
    print(machine())


if __name__ == "__main__":
    main()
