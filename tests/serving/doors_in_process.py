"""A REST door over endpoints of this process, asked without a socket, and two small models for it."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pyarrow as pa

from loopwright.core.errors import UnauthorizedRequestError
from loopwright.evaluation.outputs import Outputs
from loopwright.features.assembly import FeatureAssembly
from loopwright.features.field import Field
from loopwright.features.request import RequestField
from loopwright.registry.golden import Golden
from loopwright.registry.signature import OutputSpec, Signature
from loopwright.serving.calls.endpoint import Active, Endpoint
from loopwright.serving.calls.slot import Slot
from loopwright.serving.doors.rest import RestDoor
from loopwright.serving.http.message import HttpRequest, HttpResponse
from loopwright.serving.http.options import HttpOptions
from loopwright.serving.log.prediction_log import PredictionLog
from loopwright.serving.metrics import ServingMetrics
from loopwright.serving.predictor import Predictor
from loopwright.serving.releases.router import Routing

ROWS = [{"months": 3, "spend": 1.5, "plan": "basic"}, {"months": 30, "spend": None, "plan": None}]
LISTS = [[3, 1.5, "basic"], [30, None, None]]


INPUTS = (
    RequestField("months", "int"),
    RequestField("spend", "float", required=False),
    RequestField("plan", "category", required=False),
)
FIELDS = (
    Field("months", "int64", nullable=False),
    Field("spend", "float64"),
    Field("plan", "category", categories=("basic", "full")),
)


class Churn:
    """Says ``stay`` or ``leave`` from months, spend and plan; every answer tells apart what it was asked."""

    form = "onnx"

    def __init__(self, number: int = 1) -> None:
        self.version = SimpleNamespace(id=f"churn/{number}")
        output = OutputSpec("binary", ("stay", "leave"), "str", probabilities=True)
        self.signature = Signature(FIELDS, output)
        self.assembly = FeatureAssembly(INPUTS, FIELDS)

    def predict(self, rows) -> Outputs:
        plans = np.array([0.5 if plan is None else {"basic": 1.0, "full": 2.0}[plan] for plan in rows["plan"]])
        spend = np.nan_to_num(np.asarray(rows["spend"], dtype=np.float64), nan=-1.0)
        months = np.clip(np.asarray(rows["months"], dtype=np.float64), -5000, 5000)
        leaves = 1 / (1 + np.exp(-(months / 100 - np.clip(spend, -50, 50) / 10 + plans)))
        probabilities = np.stack([1 - leaves, leaves], axis=1)
        values = np.where(leaves > 0.5, "leave", "stay")
        return Outputs("binary", values, probabilities, ("stay", "leave"))

    def golden(self) -> Golden:
        table = pa.table({"months": [1, 2], "spend": [1.0, None], "plan": ["basic", "full"]})
        rows = {"months": np.array([1, 2]), "spend": np.array([1.0, np.nan]), "plan": np.array(["basic", "full"])}
        return Golden(table, self.predict(rows))


class Houses(Churn):
    """A regression on one field."""

    def __init__(self) -> None:
        self.version = SimpleNamespace(id="houses/7")
        self.signature = Signature((Field("x", "float64"),), OutputSpec("regression"))
        self.assembly = FeatureAssembly((RequestField("x", "float"),), (Field("x", "float64"),))

    def predict(self, rows) -> Outputs:
        return Outputs("regression", np.asarray(rows["x"], dtype=np.float64) * 2)

    def golden(self) -> Golden:
        return Golden(pa.table({"x": [1.0]}), Outputs("regression", np.array([2.0])))


class Served:
    """A door over endpoints of this process, asked without a socket."""

    def __init__(self, folder, clock, ids, models, **options) -> None:
        self.loop = asyncio.new_event_loop()
        self.metrics = ServingMetrics()
        self.logs = []
        self.not_ready: str | None = None
        self.endpoints = {}
        shadow = SimpleNamespace(offer=bool, close=lambda: None)
        for name, versions in models.items():
            log = PredictionLog(folder / name, name, clock=clock, ids=ids)
            self.logs.append(log)
            endpoint = Endpoint(name, log=log, metrics=self.metrics, executor=None, shadow=shadow, clock=clock, ids=ids)
            slots = [Slot(Predictor(version, online=None, clock=clock), 100_000) for version in versions]
            numbers = [slot.predictor.version for slot in slots]
            stage = "canary" if len(slots) > 1 else "none"
            endpoint.active = Active(Routing(*numbers, *([None] * (2 - len(numbers))), stage), *slots)
            self.endpoints[name] = endpoint
        state = SimpleNamespace(draining=False, not_ready_because=lambda: self.not_ready)
        guard = SimpleNamespace(check=self.check, admit=self.admit, is_on=False)
        parts = {"outcomes": None, "ingest": None, "metrics": self.metrics, "clock": clock, "ids": ids}
        self.token = None
        self.door = RestDoor(
            self.endpoints, state=state, guard=guard, version="9.9", options=HttpOptions(**options), **parts
        )

    def check(self, request) -> None:
        self.admit(request.header(b"authorization"), needs="viewer", asked="")

    def admit(self, authorization, *, needs, asked) -> None:  # noqa: ARG002 - the guard's signature
        if self.token is not None and authorization != f"Bearer {self.token}":
            raise UnauthorizedRequestError("A valid token is needed.")

    def ask(self, method: str, path: str, body: object = b"", door=None, **headers: str) -> HttpResponse:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        names = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        return self.loop.run_until_complete(self._ask(door or self.door, HttpRequest(method, path, names, content)))

    async def _ask(self, door, request) -> HttpResponse:
        answer = door.respond(request)
        return answer if isinstance(answer, HttpResponse) else await answer

    def post(self, path: str, body: object, **headers: str):
        answer = self.ask("POST", path, body, **headers)
        return answer.status, json.loads(answer.body)

    def close(self) -> None:
        for log in self.logs:
            log.close()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@contextmanager
def doors(folder, clock, ids):
    """Yield what makes a `Served`, and close what it made."""
    opened: list[Served] = []

    def make(models=None, **options) -> Served:
        opened.append(Served(folder, clock, ids, models or {"churn": [Churn()]}, **options))
        return opened[-1]

    yield make
    for served in opened:
        served.close()
