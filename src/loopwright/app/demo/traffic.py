"""Clients of the demonstration: pictures sent over HTTP, and whether the answers were right."""

from __future__ import annotations

import base64
import http.client
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable


class PictureSource(Protocol):
    """The camera of the digits template."""

    def picture(self, number: int, *, degraded: bool = False) -> bytes:
        """Return a picture as PNG bytes."""

    def label(self, number: int) -> int:
        """Return the digit that it shows."""

    def name(self, number: int) -> str:
        """Return its file name."""


@dataclass
class Tally:
    """Answers so far.

    Attributes:
        requests: Requests sent.
        failed: Requests that were not answered with status 200.
        right: Right answers.
        last_prediction: The id of the newest prediction.
        versions: Answers per model version.
    """

    requests: int = 0
    failed: int = 0
    right: int = 0
    last_prediction: str = ""
    versions: dict[str, int] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """Share of right answers among those given."""
        answered = self.requests - self.failed
        return self.right / answered if answered else 0.0

    def add(self, other: Tally) -> None:
        """Add another tally's counts."""
        self.requests += other.requests
        self.failed += other.failed
        self.right += other.right
        self.last_prediction = other.last_prediction or self.last_prediction
        for version, count in other.versions.items():
            self.versions[version] = self.versions.get(version, 0) + count


class Client:
    """Sends one picture after the other over one connection.

    Args:
        port: The server's port on this machine.
        model: The model to ask.
        camera: Takes the pictures.
    """

    def __init__(self, port: int, model: str, camera: PictureSource) -> None:
        self._port = port
        self._model = model
        self._path = f"/predict/{model}"
        self._camera = camera

    def send(self, numbers: Iterable[int], *, degraded: bool) -> Tally:
        """Ask for each picture once; a request that fails is counted and not repeated."""
        tally = Tally()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            for number in numbers:
                self._send_one(connection, number, tally, degraded=degraded)
        finally:
            connection.close()
        return tally

    def served_versions(self) -> list[str]:
        """Ask the server which versions it has in force."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("GET", f"/v2/models/{self._model}")
            versions: list[str] = json.loads(connection.getresponse().read())["versions"]
        finally:
            connection.close()
        return versions

    def _send_one(self, connection: http.client.HTTPConnection, number: int, tally: Tally, *, degraded: bool) -> None:
        image = base64.b64encode(self._camera.picture(number, degraded=degraded)).decode()
        body = json.dumps({"rows": [{"image": image}], "keys": [self._camera.name(number)]})
        tally.requests += 1
        try:
            connection.request("POST", self._path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            tally.failed += 1
            connection.close()
            return
        if response.status != http.client.OK:
            tally.failed += 1
            return
        answer = json.loads(content)
        version = str(answer["version"])
        tally.versions[version] = tally.versions.get(version, 0) + 1
        tally.right += int(answer["predictions"][0]) == self._camera.label(number)
        tally.last_prediction = str(answer["prediction_ids"][0])


def is_ready(port: int) -> bool:
    """Say whether the server has its models loaded."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()
