"""The client of the serving measurements: one load generator in C for every server, in a closed and in an open loop.

It is built on first use from ``serving_load.c`` into ``bench/.envs/load`` (a C compiler is needed). The scripts beside
this one prepare whole requests, HTTP or gRPC, and get back a record of each: when it was due, how long it took from
then and from when it was sent, its status, and whether it carried ``Retry-After``.

    python bench/serving_load.py 8000 /predict/eta '{"rows": [{"x": 1}]}' --rate 500      # asks a server by hand
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "serving_load.c"
PROGRAM = HERE / ".envs" / "load" / "serving_load"
RECORD = np.dtype([("due_s", "f8"), ("latency_ms", "f4"), ("service_ms", "f4"), ("status", "i4"), ("flags", "i4")])
RETRY_AFTER = 1
QUIET = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def program() -> Path:
    """Build the load generator where that is needed."""
    if not PROGRAM.exists() or PROGRAM.stat().st_mtime < SOURCE.stat().st_mtime:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise SystemExit("a C compiler is needed for the load generator")
        PROGRAM.parent.mkdir(parents=True, exist_ok=True)
        unborn = PROGRAM.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, "-O2", "-o", str(unborn), str(SOURCE)], check=True)
        unborn.replace(PROGRAM)
    return PROGRAM


def http_request(path: str, body: bytes, content_type: str = "application/json", headers: str = "") -> bytes:
    """Write one POST out."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def grpc_request(method: str, message: bytes) -> bytes:
    """Write one unary call out as HTTP/2 frames; the load generator sets their streams."""
    fields = {":method": "POST", ":scheme": "http", ":path": method, ":authority": "localhost"}
    fields |= {"content-type": "application/grpc", "te": "trailers"}
    block = b""
    for name, value in fields.items():  # literals without indexing (RFC 7541, 6.2.2), shorter than 127 bytes
        block += b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
    data = b"\0" + struct.pack(">I", len(message)) + message
    return _frame(1, 4, block) + _frame(0, 1, data)


def _frame(kind: int, flags: int, content: bytes) -> bytes:
    return struct.pack(">I", len(content))[1:] + bytes([kind, flags]) + b"\0\0\0\0" + content


@dataclass(frozen=True)
class Found:
    """What a run of the load generator found; `records` has the fields of `RECORD`."""

    records: np.ndarray
    seconds: float

    @property
    def answered(self) -> np.ndarray:
        """Return the records of what was answered 200."""
        return self.records[self.records["status"] == 200]

    @property
    def rps(self) -> float:
        """Return answers a second."""
        return len(self.answered) / self.seconds

    @property
    def failed(self) -> int:
        """Return how many requests were not answered 200."""
        return int(len(self.records) - len(self.answered))

    def quantile_ms(self, share: float) -> float:
        """Return a quantile of the latencies of what was answered 200, from when it was due."""
        return float(np.quantile(self.answered["latency_ms"], share)) if len(self.answered) else float("nan")

    def statuses(self) -> dict[int, int]:
        """Return how many there are of each status."""
        codes, counts = np.unique(self.records["status"], return_counts=True)
        return dict(zip(codes.tolist(), counts.tolist(), strict=True))


class Load:
    """One run of the load generator, begun; `wait` returns what it found."""

    def __init__(
        self,
        port: int,
        requests: Sequence[bytes],
        *,
        connections: int,
        seconds: float,
        rate: float = 0.0,
        protocol: str = "http",
        core: int | None = None,
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="load-"))
        self._out, self.seconds = self._folder / "out", seconds
        content = struct.pack("=I", len(requests)) + b"".join(struct.pack("=I", len(r)) + r for r in requests)
        (self._folder / "requests").write_bytes(content)
        command = [str(program()), str(port), str(self._folder / "requests"), str(self._out)]
        command += [str(connections), str(seconds), str(rate), protocol]
        self.began = time.monotonic()
        self.process = subprocess.Popen(command)
        if core is not None:
            os.sched_setaffinity(self.process.pid, {core})

    def wait(self) -> Found:
        """Wait for its end."""
        try:
            if self.process.wait() != 0:
                raise SystemExit("the load generator failed; it said why above")
            return Found(np.fromfile(self._out, dtype=RECORD), self.seconds)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


def closed(
    port: int,
    requests: Sequence[bytes],
    connections: int,
    seconds: float,
    *,
    protocol: str = "http",
    core: int | None = None,
) -> Found:
    """Ask on so many connections, on each again as soon as it is answered; from one core where that is said."""
    return Load(port, requests, connections=connections, seconds=seconds, protocol=protocol, core=core).wait()


def at_rate(
    port: int,
    requests: Sequence[bytes],
    rate: float,
    seconds: float,
    *,
    connections: int = 256,
    protocol: str = "http",
) -> Found:
    """Ask at a constant rate, whether or not earlier requests are answered."""
    return Load(port, requests, connections=connections, seconds=seconds, rate=rate, protocol=protocol).wait()


def free_port() -> int:
    """Return a port that nobody has bound."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def answers(port: int, request: bytes) -> bool:
    """Return whether a server answers a request with 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as sock:
            sock.sendall(request)
            return b" 200 " in sock.recv(100)
    except OSError:
        return False


def get(path: str) -> bytes:
    """Write one GET out, the last of its connection."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


class Process:
    """A server process and its children.

    Args:
        command: Starts it.
        port: Where it will answer.
        ready: A request that is answered 200 once the server is ready.
        log: Gets what it prints.
    """

    def __init__(self, command: Sequence[str], port: int, ready: bytes, log: Path, *, wait_s: float = 120) -> None:
        self.port = port
        self.began = time.monotonic()
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                env={**os.environ, **QUIET},
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.until(lambda: answers(port, ready), log, wait_s)
        self.ready_s = time.monotonic() - self.began

    def until(self, true: Callable[[], bool], log: Path, wait_s: float = 60) -> None:
        """Wait until something is true; end with what the server printed where that takes too long."""
        ends = time.monotonic() + wait_s
        while not true():
            if self.process.poll() is not None or time.monotonic() > ends:
                self.stop()
                raise RuntimeError(f"the server did not come up: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)

    def everybody(self) -> list[psutil.Process]:
        """Return the process and its descendants."""
        try:
            first = psutil.Process(self.process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def bind(self, cores: Iterable[int]) -> None:
        """Let all threads of all processes run on these cores only."""
        for each in self.everybody():
            for thread in each.threads():
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(thread.id, cores)

    def cpu_s(self) -> float:
        """Return the processor time so far, of the process and its living descendants."""
        total = 0.0
        for each in self.everybody():
            try:
                times = each.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return total

    def memory_mib(self) -> float:
        """Return the resident memory without what processes share (proportional set size)."""
        total = 0
        for each in self.everybody():
            try:
                total += each.memory_full_info().pss
            except psutil.Error:
                continue
        return total / (1 << 20)

    def stop(self) -> None:
        """End it, gently first."""
        everybody = self.everybody()
        if self.process.poll() is None:
            self.process.terminate()
        _, alive = psutil.wait_procs(everybody, timeout=30)
        for each in alive:
            try:
                each.kill()
            except psutil.NoSuchProcess:
                continue
        self.process.wait(30)


def burst(words: Sequence[float]) -> str:
    """Write figures out in a row."""
    return ", ".join(f"{word:.2f}" for word in words)


def machine() -> str:
    """Say how busy the machine is."""
    return f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def main() -> None:
    """Ask a server by hand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int, nargs="?")
    parser.add_argument("path", nargs="?", default="/")
    parser.add_argument("body", nargs="?", default="{}")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=0.0)
    options = parser.parse_args()
    if options.port is None:
        print(f"the load generator is {program().relative_to(HERE.parent)}; name a port to ask a server")
        return
    load = Load(
        options.port,
        [http_request(options.path, options.body.encode())],
        connections=options.connections,
        seconds=options.seconds,
        rate=options.rate,
    )
    found = load.wait()
    quantiles = {f"p{share:g}_ms": round(found.quantile_ms(share / 100), 3) for share in (50, 95, 99)}
    print(json.dumps({"rps": round(found.rps, 1), "statuses": found.statuses(), **quantiles}))


if __name__ == "__main__":
    main()
