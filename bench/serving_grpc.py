# ruff: noqa: PLC0415, N806, D102 - each role imports what it needs; X is scikit-learn's name
"""Requests per second over gRPC: our server, a bare handler with the same model, and what the transport alone costs.

    python bench/serving_grpc.py

One worker each, a logistic regression on 20 numbers, one row of FP32 per request in raw contents (``ModelInfer`` of the
Open Inference Protocol). Ours runs with everything on: feature assembly, routing, metrics, and the prediction log on
disk; beside it the same server asked over HTTP with the same row as JSON. The bare handler is ``grpc.aio`` on uvloop
around one call of the same compiled graph, with the same messages read and written, and nothing else. ``empty`` is
``grpc.aio`` with a handler that returns fixed bytes; ``threads`` is gRPC's synchronous server, each of whose 4 threads
hands the call to the event loop and waits for the fixed bytes.

The client is a process of its own with several channels (wrk for HTTP). Rounds alternate between the servers; medians
and ratios are printed. ``cpu`` is the server's processor time per request: the figure that other work on the machine
disturbs least.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAMES = [f"x{number}" for number in range(20)]
ROW = {name: round(0.05 * position, 2) for position, name in enumerate(NAMES)}
METHOD = "/inference.GRPCInferenceService/ModelInfer"
READY = "/inference.GRPCInferenceService/ServerReady"
KEYS = ("rps", "p50_ms", "p99_ms", "cpu_us")
CHANNELS = 4


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def prepare(folder: Path) -> None:
    """Train, register and promote the model; leave the graph for the bare handler."""
    import numpy as np
    import pyarrow as pa
    from sklearn.linear_model import LogisticRegression

    from loopwright.core.ref import Ref
    from loopwright.core.settings import Settings
    from loopwright.core.storage.stores import open_stores
    from loopwright.features.assembly import FeatureAssembly, assembly_to_bytes
    from loopwright.features.columns import model_input
    from loopwright.features.field import Field
    from loopwright.features.request import RequestField
    from loopwright.registry.alias import Aliases, Override
    from loopwright.registry.candidate import Candidate
    from loopwright.registry.registry import Registry
    from loopwright.training.estimators.choice import save_model

    fields = tuple(Field(name, "float64") for name in NAMES)
    random = np.random.default_rng(0)
    data = {name: random.normal(size=2000) for name in NAMES}
    X = model_input(data, fields)
    model = LogisticRegression().fit(X, (X["x0"] + X["x1"] > 0).astype(int))
    stores = open_stores(Settings.load(folder, environ={}))
    (folder / "run").mkdir()
    version = Registry(stores).register(
        Candidate(
            model="risk",
            run_id="run",
            model_file=save_model(model, folder / "run", trust=True),
            model_path=folder / "run",
            fields=fields,
            assembly=assembly_to_bytes(FeatureAssembly(tuple(RequestField(n, "float") for n in NAMES), fields)),
            training_set=Ref("training_set", "bench"),
            training_rows=pa.table(data),
        )
    )
    stores.blobs.fetch(version.compiled.digest, folder / "model.onnx")
    Aliases(stores).move("risk", "champion", 1, expected=None, by="bench", override=Override("bench", "a benchmark"))
    stores.close()


def request_bytes() -> bytes:
    import numpy as np

    from loopwright.serving.grpc.proto_file import Messages
    from loopwright.serving.grpc.protocol import INFERENCE

    row = np.array([list(ROW.values())], dtype="<f4")
    request = Messages([INFERENCE])["inference.ModelInferRequest"](
        model_name="risk", raw_input_contents=[row.tobytes()]
    )
    request.inputs.add(name="input", datatype="FP32", shape=row.shape)
    return bytes(request.SerializeToString())


def run_ours(folder: Path, port: int, http_port: int) -> None:
    from loopwright.core.settings import Settings
    from loopwright.core.storage.stores import open_stores
    from loopwright.serving.deploy import online
    from loopwright.serving.grpc.server import GrpcServer
    from loopwright.serving.models.model_source import RegistrySource
    from loopwright.serving.server.running import serve
    from loopwright.serving.server_plan import ServerPlan

    stores = open_stores(Settings.load(folder, environ={}))
    plan = ServerPlan(models={"risk": online()}, port=http_port, grpc_port=port, drain_delay_s=0)
    serve(stores, RegistrySource(stores), plan, doors=(GrpcServer,))


def run_bare(folder: Path, port: int, _http_port: int) -> None:
    import numpy as np
    import onnxruntime

    from loopwright.serving.grpc.proto_file import Messages
    from loopwright.serving.grpc.protocol import INFERENCE

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        (folder / "model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    name, kind = session.get_inputs()[0].name, session.get_inputs()[0].type
    wanted = np.float64 if "double" in kind else np.float32
    messages = Messages([INFERENCE])
    taken, given = messages["inference.ModelInferRequest"], messages["inference.ModelInferResponse"]

    async def infer(content: bytes, _context: object) -> bytes:
        request = taken.FromString(content)
        rows = np.frombuffer(request.raw_input_contents[0], dtype="<f4").reshape(request.inputs[0].shape)
        found = session.run(None, {name: rows.astype(wanted, copy=False)})
        response = given(model_name="risk", model_version="1")
        for place, values in enumerate(found):
            array = np.asarray(values)
            response.outputs.add(
                name=str(place), datatype="FP64" if array.dtype == np.float64 else "FP32", shape=array.shape
            )
            response.raw_output_contents.append(array.tobytes())
        return response.SerializeToString()

    asyncio_server(port, infer)


def run_empty(_folder: Path, port: int, _http_port: int) -> None:
    async def infer(_content: bytes, _context: object) -> bytes:
        return b"x" * 300

    asyncio_server(port, infer)


def asyncio_server(port: int, infer: object) -> None:
    """Serve one handler with grpc.aio on uvloop."""
    import grpc
    import uvloop

    async def serve() -> None:
        server = grpc.aio.server()
        handlers = {"ModelInfer": grpc.unary_unary_rpc_method_handler(infer), "ServerReady": ready_handler(grpc)}
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),)
        )
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        await server.wait_for_termination()

    uvloop.run(serve())


def ready_handler(grpc: object) -> object:
    async def ready(_content: bytes, _context: object) -> bytes:
        return b"\x08\x01"  # ready = true

    return grpc.unary_unary_rpc_method_handler(ready)


def run_threads(_folder: Path, port: int, _http_port: int) -> None:
    import threading
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    import uvloop

    loop = uvloop.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def answer(_content: bytes) -> bytes:
        return b"x" * 300

    def infer(content: bytes, _context: object) -> bytes:
        return asyncio.run_coroutine_threadsafe(answer(content), loop).result()

    handlers = {
        "ModelInfer": grpc.unary_unary_rpc_method_handler(infer),
        "ServerReady": grpc.unary_unary_rpc_method_handler(lambda _content, _context: b"\x08\x01"),
    }
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


ROLES = {"ours": run_ours, "bare": run_bare, "empty": run_empty, "threads": run_threads}


class Server:
    """One server process of a role."""

    def __init__(self, role: str, folder: Path) -> None:
        self.port, self.http_port = free_port(), free_port()
        ports = ["--port", str(self.port), "--http-port", str(self.http_port)]
        command = [sys.executable, __file__, "--role", role, "--folder", str(folder), *ports]
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        self.errors = folder / f"{role}.txt"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(command, env=environ, stdout=errors, stderr=errors)
        while not self.is_ready():
            if self.process.poll() is not None:
                raise SystemExit(f"the server '{role}' ended: {self.errors.read_text()[-2000:]}")
            time.sleep(0.05)

    def is_ready(self) -> bool:
        import grpc

        try:
            with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
                return channel.unary_unary(READY)(b"", timeout=1) == b"\x08\x01"
        except grpc.RpcError:
            return False

    def cpu_s(self) -> float:
        """Processor time so far, in user and system mode."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def client(port: int, connections: int, seconds: float) -> None:
    """Ask for so many seconds, and print what was found as JSON."""
    import grpc
    import uvloop

    content = request_bytes()

    async def run() -> dict[str, float]:
        target, own = f"127.0.0.1:{port}", (("grpc.use_local_subchannel_pool", 1),)
        channels = [grpc.aio.insecure_channel(target, options=own) for _ in range(min(CHANNELS, connections))]
        times: list[float] = []

        async def one(place: int) -> None:
            infer = channels[place % len(channels)].unary_unary(METHOD)
            await infer(content)
            ends = time.perf_counter() + seconds
            while (began := time.perf_counter()) < ends:
                await infer(content)
                times.append(time.perf_counter() - began)

        await asyncio.gather(*(one(place) for place in range(connections)))
        times.sort()
        count = len(times)
        return {
            "rps": count / seconds,
            "p50_ms": times[count // 2] * 1000,
            "p99_ms": times[int(count * 0.99)] * 1000,
            "count": count + connections,
        }

    print(json.dumps(uvloop.run(run())))


def measure(server: Server, connections: int, seconds: float) -> dict[str, float]:
    before = server.cpu_s()
    command = [sys.executable, __file__, "--role", "client", "--port", str(server.port)]
    command += ["--connections", str(connections), "--seconds", str(seconds)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {**found, "cpu_us": (server.cpu_s() - before) / found["count"] * 1e6}


def measure_http(server: Server, connections: int, seconds: float, folder: Path) -> dict[str, float]:
    script = folder / "post.lua"
    body = json.dumps({"rows": [ROW]})
    script.write_text(f"wrk.method='POST'\nwrk.headers['Content-Type']='application/json'\nwrk.body='{body}'\n")
    url = f"http://127.0.0.1:{server.http_port}/predict/risk"
    before = server.cpu_s()
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "-s", str(script), url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(text)
    factor = {"us": 0.001, "ms": 1.0, "s": 1000.0}

    def quantile(label: str) -> float:
        number, unit = re.search(rf"{label}%\s+([\d.]+)(us|ms|s)", text).groups()
        return float(number) * factor[unit]

    count = int(re.search(r"(\d+) requests in", text)[1])
    return {
        "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
        "p50_ms": quantile("50"),
        "p99_ms": quantile("99"),
        "cpu_us": (server.cpu_s() - before) / count * 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--role")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--port", type=int)
    parser.add_argument("--http-port", type=int)
    options = parser.parse_args()
    if options.role == "client":
        client(options.port, options.connections, options.seconds)
        return
    if options.role:
        ROLES[options.role](options.folder, options.port, options.http_port)
        return
    results: dict[tuple[str, int], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        servers = {role: Server(role, folder) for role in ROLES}
        try:
            for server in servers.values():
                measure(server, 4, 1.0)
            for _ in range(options.rounds):
                for connections in (1, options.connections):
                    for role, server in servers.items():
                        results.setdefault((role, connections), []).append(
                            measure(server, connections, options.seconds)
                        )
                    found = measure_http(servers["ours"], connections, options.seconds, folder)
                    results.setdefault(("http", connections), []).append(found)
        finally:
            for server in servers.values():
                server.stop()
    for connections in (1, options.connections):
        print(f"\n{connections} call(s) at once, one row per request, median of {options.rounds} rounds")
        medians = {
            role: {key: statistics.median(each[key] for each in found) for key in KEYS}
            for (role, number), found in results.items()
            if number == connections
        }
        for role, found in medians.items():
            rate, half, tail, cpu = (found[key] for key in KEYS)
            print(f"  {role:8} {rate:9.0f} requests/s   p50 {half:7.3f} ms   p99 {tail:7.3f} ms   cpu {cpu:6.1f} µs")
        for peer in ("bare", "empty", "http"):
            rates = medians["ours"]["rps"] / medians[peer]["rps"]
            cpus = medians[peer]["cpu_us"] / medians["ours"]["cpu_us"]
            print(f"  ours / {peer:8} requests/s {rates:5.2f}   cpu {cpus:5.2f}")


if __name__ == "__main__":
    main()
