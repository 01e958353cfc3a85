"""A gRPC door on an event loop of its own in this process, and gRPC's own client for it."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import grpc
import uvloop
from tests.servers import free_port

from loopwright.core.access import Access
from loopwright.serving.deploy import OnlineDeployment
from loopwright.serving.grpc.health import HEALTH
from loopwright.serving.grpc.proto_file import Messages
from loopwright.serving.grpc.protocol import INFERENCE
from loopwright.serving.grpc.reflection import REFLECTION
from loopwright.serving.grpc.server import GrpcServer
from loopwright.serving.guard import Guard
from loopwright.serving.server.further_door import DoorParts
from loopwright.serving.server_plan import ServerPlan

SERVICE = INFERENCE.service_name
MESSAGES = Messages([INFERENCE, HEALTH, *REFLECTION])
OWN = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))


def kind(call: str):
    return MESSAGES["inference.ModelInferRequest" if call == "ModelStreamInfer" else f"inference.{call}Request"]


class State:
    """The server's readiness, as the test wants it."""

    def __init__(self) -> None:
        self.draining = False
        self.reason: str | None = None

    def not_ready_because(self) -> str | None:
        return "The server is draining." if self.draining else self.reason


class RunningDoor:
    """A door that listens, and its loop."""

    def __init__(self, parts, *, stores, tokens=(), endpoints=None, tls=None, **options) -> None:
        self.parts = parts
        self.state = State()
        self.port = free_port()
        self.loop = uvloop.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="door")
        self.thread.start()
        self.endpoints = {"nonce": parts.endpoint} if endpoints is None else endpoints
        self.access = Access(stores.facts, stores.clock, stores.ids)
        plan = ServerPlan(
            dict.fromkeys(self.endpoints, OnlineDeployment()), grpc_port=self.port, tokens=tokens, tls=tls
        )
        guard = Guard(tokens, self.access, clock=stores.clock)
        given = DoorParts(
            self.endpoints, self.state, guard, parts.metrics, stores.clock, stores.ids, version="9.9", plan=plan
        )
        self.server = self.run(self._opened(given, options))
        self.channel = self.connect()
        self.is_open = True

    async def _opened(self, parts, options):
        server = GrpcServer(parts, **options)
        await server.listen()
        return server

    def connect(self):
        return grpc.insecure_channel(f"127.0.0.1:{self.port}", options=OWN)

    def run(self, awaitable):
        return asyncio.run_coroutine_threadsafe(awaitable, self.loop).result(60)

    def within(self, function, *arguments):
        """Run a plain function on the loop, after all that it has to do now."""

        async def later():
            await asyncio.sleep(0)
            return function(*arguments)

        return self.run(later())

    def drain(self, timeout_s: float = 30.0):
        """Begin to close; returns what to wait for."""
        self.is_open = False
        return asyncio.run_coroutine_threadsafe(self.server.close(timeout_s=timeout_s), self.loop)

    def close(self) -> None:
        self.channel.close()
        if self.is_open:
            self.run(self.server.close(timeout_s=5))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def method(self, name: str, channel=None):
        used = channel or self.channel
        opened = used.stream_stream if name == "ModelStreamInfer" else used.unary_unary
        return opened(
            f"/{SERVICE}/{name}",
            request_serializer=kind(name).SerializeToString,
            response_deserializer=MESSAGES[f"inference.{name}Response"].FromString,
        )

    def ask(self, rpc: str, *, metadata=(), timeout=60, **fields):
        return self.method(rpc)(kind(rpc)(**fields), metadata=metadata, timeout=timeout)

    def infer(self, *tensors, metadata=(), timeout=60, **fields):
        return self.method("ModelInfer")(request_of(*tensors, **fields), metadata=metadata, timeout=timeout)

    def refused(self, *tensors, **options) -> tuple[str, str]:
        return refusal(lambda: self.infer(*tensors, **options))

    def count(self, name: str, *labels: str) -> float:
        """Sum a metric over the series that have all the labels."""
        lines = self.parts.metrics.exposition().decode().splitlines()
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith(name + "{") and all(label in line for label in labels)
        )


def refusal(ask) -> tuple[str, str]:
    """Return the code and the words of the refusal that a call gets."""
    try:
        found = ask()
    except grpc.RpcError as error:
        return error.code().name, error.details()
    raise AssertionError(f"the call was answered: {found}")


def request_of(*tensors, model_name="nonce", raw=(), timeout_us=None, outputs=(), **fields):
    request = kind("ModelInfer")(model_name=model_name, raw_input_contents=raw, **fields)
    for tensor in tensors:
        request.inputs.add(**tensor)
    for output in outputs:
        request.outputs.add(name=output)
    if timeout_us is not None:
        request.parameters["timeout"].int64_param = timeout_us
    return request


def tensor(datatype: str = "FP64", *, name: str = "x", shape=(1,), **contents):
    """A tensor; without contents its bytes are raw."""
    return {"name": name, "datatype": datatype, "shape": shape, **({"contents": contents} if contents else {})}


def fp64(*values: float):
    return tensor(shape=(len(values),), fp64_contents=values)


def parameters(response) -> SimpleNamespace:
    return SimpleNamespace(**{key: value.string_param for key, value in response.parameters.items()})


def output(response, name: str = "predict"):
    return next(one for one in response.outputs if one.name == name)
