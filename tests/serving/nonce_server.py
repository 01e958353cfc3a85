"""A real server process on small models, for tests: ``python nonce_server.py <folder> <options as JSON>``.

A version answers ``x + 1000 * version``, so an answer shows which version computed it. What is in force stands in
``target.json``.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa

from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.evaluation.outputs import Outputs
from loopwright.features.assembly import Assembled, FeatureAssembly
from loopwright.features.field import Field
from loopwright.features.request import RequestField, read_field
from loopwright.registry.golden import Golden
from loopwright.registry.signature import OutputSpec, Signature
from loopwright.serving.deploy import OnlineDeployment
from loopwright.serving.http.options import HttpOptions
from loopwright.serving.models.model_source import Target
from loopwright.serving.releases.router import Routing
from loopwright.serving.server_plan import ServerPlan
from loopwright.serving.tls import TlsFiles
from loopwright.serving.workers.group import serve_group
from loopwright.serving.workers.seat import ServerParts

MODEL = "nonce"


class Version:
    def __init__(self, version_id: str) -> None:
        self.id = version_id


class NonceModel:
    """Answers ``x + 1000 * version``; raises on -1, sleeps x - 5000 ms above 5000; slow in versions above 100."""

    form = "onnx"

    def __init__(self, number: int, *, broken: bool = False) -> None:
        self.number = number
        self.broken = broken
        self.version = Version(f"{MODEL}/{number}")
        self.signature = Signature((Field("x", "float64"),), OutputSpec("regression"))
        self.assembly = FeatureAssembly((RequestField("x", "float"),), (Field("x", "float64"),))

    def predict(self, rows: object) -> Outputs:
        x = np.asarray(rows["x"], dtype=np.float64)
        if np.any(x == -1):
            raise ZeroDivisionError("minus one")
        if self.number > 100:
            time.sleep(0.002)  # a model that takes this long: what is tested, and nothing is waited for
        if x.max(initial=0) >= 5000:
            time.sleep((x.max() - 5000) / 1000)
        return Outputs("regression", x + 1000 * self.number + (0.5 if self.broken else 0))

    def golden(self) -> Golden:
        table = pa.table({"x": np.arange(8, dtype=np.float64)})
        return Golden(table, Outputs("regression", np.arange(8, dtype=np.float64) + 1000 * self.number))


class ImageModel:
    """Answers the class of an image's mean brightness, with probabilities."""

    form = "onnx"

    def __init__(self) -> None:
        self.version = Version("bright/1")
        output = OutputSpec("binary", ("dark", "light"), "str", probabilities=True)
        self.signature = Signature((Field("brightness", "float64"),), output)
        self.assembly = BrightnessAssembly()

    def predict(self, rows: object) -> Outputs:
        light = np.asarray(rows["brightness"], dtype=np.float64) / 255
        probabilities = np.stack([1 - light, light], axis=1)
        values = np.where(light > 0.5, "light", "dark")
        return Outputs("binary", values, probabilities, ("dark", "light"))

    def golden(self) -> Golden:
        table = pa.table({"brightness": [0.0, 255.0]})
        return Golden(table, self.predict({"brightness": np.array([0.0, 255.0])}))


class BrightnessAssembly(FeatureAssembly):
    """The mean of the payload's bytes."""

    def __init__(self) -> None:
        super().__init__((RequestField("image", "image"),), (Field("brightness", "float64"),))

    def assemble(self, rows, online=None, now=None):  # noqa: ARG002 - the signature of every assembly
        payloads = read_field(rows, self.inputs[0])
        means = np.array([float(np.mean(list(payload) or [0])) for payload in payloads])
        return Assembled(self.fields, {"brightness": means}, ())


class FileSource:
    """What ``target.json`` says: champion, challenger, stage, share, release, broken, broken_in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.refused = path.with_name("refused.txt")

    def _document(self) -> dict:
        return json.loads(self.path.read_text())

    def change_counter(self) -> int:
        return hash(self.path.read_text())

    def target(self, model: str) -> Target | None:
        if model == "bright":
            return Target(Routing(1), "bright/1")
        document = self._document()
        if document.get("champion") is None:
            return None
        champion, challenger = document["champion"], document.get("challenger")
        routing = Routing(
            champion,
            challenger,
            document.get("stage", "none"),
            document.get("share", 0.0),
            document.get("salt", ""),
            document.get("experiment"),
        )
        other = None if challenger is None else f"{MODEL}/{challenger}"
        return Target(routing, f"{MODEL}/{champion}", other)

    def load(self, version_id: str):
        model, _, number = version_id.partition("/")
        if model == "bright":
            return ImageModel()
        document = self._document()
        broken = int(number) in document.get("broken", [])
        if broken and document.get("broken_in"):  # in so many processes only: the first that come
            with suppress(FileExistsError):
                (self.path.parent / f"broken-{number}").touch(exist_ok=False)
                return NonceModel(int(number), broken=True)
            broken = False
        return NonceModel(int(number), broken=broken)

    def size_bytes(self, version_id: str) -> int | None:
        return self._document().get("sizes", {}).get(version_id)

    def refuse(self, model: str, version_id: str, reason: str) -> None:  # noqa: ARG002
        self.refused.write_text(f"{version_id}: {reason}")


def main() -> None:
    folder = Path(sys.argv[1])
    options = json.loads(sys.argv[2])
    deployment = OnlineDeployment(**options.pop("deployment", {}))
    models = dict.fromkeys(options.pop("models", [MODEL]), deployment)
    models.update(dict.fromkeys(options.pop("optional", []), OnlineDeployment(required=False)))
    tls = options.pop("tls", None)
    plan = ServerPlan(
        models=models,
        state_file=folder / "serving.json",
        poll_s=0.05,
        tokens=tuple(options.pop("tokens", [])),
        http=HttpOptions(**options.pop("http", {})),
        tls=None if tls is None else TlsFiles(*map(Path, tls)),
        **{"workers": 1, **options},
    )

    def open_parts() -> ServerParts:
        stores = open_stores(Settings.load(folder, environ={}))
        return ServerParts(stores, FileSource(folder / "target.json"))

    serve_group(open_parts, plan)


if __name__ == "__main__":
    main()
