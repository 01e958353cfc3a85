"""Several workers behind one socket, as clients and operators see them: real processes, real signals."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading

import httpx
import psutil
import pytest


def metric(text: str, name: str) -> float:
    found = (line for line in text.splitlines() if line.startswith((name + "{", name + " ")))
    return sum(float(line.rpartition(" ")[2]) for line in found)


class Group:
    """A running server of several workers."""

    def __init__(self, server) -> None:
        self.server = server
        self.url = server.url
        self.state = server.folder / "serving.json"
        self.wait_for = server.wait_for

    def workers(self) -> list[int]:
        return json.loads(self.state.read_text())["workers"]

    def metrics(self) -> str:
        with httpx.Client(base_url=self.url, timeout=120, trust_env=False) as client:
            for _ in range(5):
                with contextlib.suppress(httpx.TransportError):  # the worker that was asked is killed
                    return client.get("/metrics").text
        return ""

    def all_ready(self, count: int = 2) -> bool:
        return metric(self.metrics(), "loopwright_workers_ready") == count

    def versions(self) -> set[int]:
        """The versions that answer, asked on more connections than there are workers."""
        with contextlib.ExitStack() as stack:
            clients = [httpx.Client(base_url=self.url, timeout=120, trust_env=False) for _ in range(4)]
            for client in clients:
                assert stack.enter_context(client).get("/livez").status_code == 200
            return {client.post("/predict/nonce", json={"x": 1}).json()["version"] for client in clients}


@pytest.fixture
def start_group(start_server):
    def start(**options) -> Group:
        group = Group(start_server(**{"workers": 2, **options}))
        group.wait_for(group.all_ready)
        return group

    return start


class Traffic:
    """Asks on several connections without pause, and goes to another when a server says ``Connection: close``."""

    def __init__(self, url: str, clients: int = 3) -> None:
        self.port = int(url.rpartition(":")[2])
        self.answers: list[tuple[float, int]] = []
        self.lost = 0
        self.wrong: list[bytes] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self, number: int) -> None:
        x = number
        while not self._stop.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as connection:
                reader = connection.makefile("rb")
                while not self._stop.is_set():
                    x = (x + 7) % 900
                    body = b'{"x":%d}' % x
                    head = b"POST /predict/nonce HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n"
                    try:
                        connection.sendall(head + b"content-length: %d\r\n\r\n%s" % (len(body), body))
                        closes, answer = self._read(reader)
                    except OSError:
                        self.lost += 1
                        break
                    document = json.loads(answer)
                    version = document.get("version")
                    if version is None or document["predictions"] != [x + 1000.0 * version]:
                        self.wrong.append(answer)
                    else:
                        self.answers.append((x, version))
                    if closes:
                        break

    def _read(self, reader) -> tuple[bool, bytes]:
        length, closes = 0, False
        if not reader.readline():
            raise ConnectionResetError("the connection ended before an answer")
        while (line := reader.readline().strip().lower()) != b"":
            name, _, value = line.partition(b":")
            length = int(value) if name == b"content-length" else length
            closes |= name == b"connection" and b"close" in value
        body = reader.read(length)
        if len(body) < length:
            raise ConnectionResetError("the connection ended in an answer")
        return closes, body

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def traffic():
    running: list[Traffic] = []

    def start(group: Group, **options) -> Traffic:
        running.append(Traffic(group.url, **options))
        return running[-1]

    yield start
    for each in running:
        each.stop()


def test_a_killed_worker_costs_its_requests_and_is_replaced(start_group, traffic):
    """The others go on, its counts stay, and what was in flight in it is no longer."""
    group = start_group()
    asked = traffic(group, clients=4)
    group.wait_for(lambda: len(asked.answers) > 100)
    before = metric(group.metrics(), "loopwright_requests_total")
    victim = group.workers()[0]
    os.kill(victim, signal.SIGKILL)
    group.wait_for(lambda: victim not in group.workers() and group.all_ready())
    count = len(asked.answers)
    group.wait_for(lambda: len(asked.answers) > count + 100)
    asked.stop()
    assert asked.wrong == []
    assert asked.lost <= 4, "at most what it was answering"
    text = group.metrics()
    assert before <= metric(text, "loopwright_requests_total") <= len(asked.answers) + asked.lost
    assert metric(text, "loopwright_worker_restarts_total") == 1
    rows = {name: metric(text, f"loopwright_log_rows_{name}") for name in ("accepted_total", "durable_total")}
    rest = metric(text, "loopwright_log_rows_in_flight") + metric(text, "loopwright_log_rows_dropped_total")
    assert rows["accepted_total"] == rows["durable_total"] + rest
    assert group.server.stop() == 0
    assert not group.state.exists()


def test_workers_are_replaced_one_by_one_without_a_failed_request(start_group, traffic):
    group = start_group(drain_delay_s=0.2)
    before = set(group.workers())
    asked = traffic(group)
    group.wait_for(lambda: len(asked.answers) > 100)
    group.server.process.send_signal(signal.SIGHUP)
    group.wait_for(lambda: len(group.workers()) == 2 and not before & set(group.workers()))
    group.wait_for(group.all_ready)
    asked.stop()
    assert (asked.wrong, asked.lost) == ([], 0)
    assert metric(group.metrics(), "loopwright_worker_restarts_total") == 0
    assert metric(group.metrics(), "loopwright_requests_total") == len(asked.answers)
    asked = traffic(group)
    group.wait_for(lambda: len(asked.answers) > 100)
    group.server.process.send_signal(signal.SIGTERM)
    with httpx.Client(base_url=group.url, timeout=120, trust_env=False) as client:
        group.server.wait_for(lambda: client.get("/readyz").status_code == 503)
        answer = client.get("/livez")
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    group.server.process.wait(20)
    asked.stop()
    assert (group.server.process.returncode, asked.wrong) == (0, [])


def test_versions_are_swapped_in_all_workers_or_in_none(start_group, traffic, set_target, tmp_path):
    group = start_group()
    asked = traffic(group)
    for version in range(4, 8):
        set_target(champion=version)
        group.wait_for(lambda version=version: any(seen == version for _, seen in asked.answers[-20:]))
    set_target(champion=2, broken=[2], broken_in=1)  # one worker refuses it
    refused = tmp_path / "refused.txt"
    group.wait_for(lambda: refused.exists() and refused.read_text())
    assert "nonce/2 could not be loaded" in refused.read_text()
    set_target(champion=3)
    group.wait_for(lambda: any(seen == 3 for _, seen in asked.answers[-20:]))
    asked.stop()
    assert (asked.wrong, asked.lost) == ([], 0)
    assert {version for _, version in asked.answers} == {1, 3, 4, 5, 6, 7}, "nobody ever answered with 2"
    os.kill(group.workers()[0], signal.SIGKILL)
    group.wait_for(lambda: metric(group.metrics(), "loopwright_worker_restarts_total") == 1 and group.all_ready())
    assert group.versions() == {3}, "the new worker got what is in force"


def test_workers_end_with_their_supervisor_and_leave_the_address(start_group, start_server, tmp_path):
    group = start_group()
    workers = [psutil.Process(pid) for pid in group.workers()]
    group.server.kill()
    successor = start_server(workers=2, port=group.server.port)
    assert successor.port == group.server.port
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []


def test_a_silent_worker_is_replaced_and_liveness_tells_when_none_takes_its_place(start_group, set_target):
    group = start_group(silence_s=0.6)
    silent = group.workers()[0]
    os.kill(silent, signal.SIGSTOP)
    group.wait_for(lambda: silent not in group.workers())
    group.wait_for(group.all_ready)
    assert metric(group.metrics(), "loopwright_worker_restarts_total") == 1


def test_ready_says_no_until_there_is_a_version_and_health_is_answered_meanwhile(start_server, set_target):
    set_target(champion=None)
    server = start_server(workers=2, ready=False)
    group = Group(server)
    assert server.client.get("/livez").status_code == 200
    assert server.client.get("/readyz").status_code == 503
    set_target(champion=4)
    server.ready()
    group.wait_for(group.all_ready)
    assert group.versions() == {4}
