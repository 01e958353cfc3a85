# ruff: noqa: PLC0415, N806, D102 - each role imports what it needs; X is scikit-learn's name
"""Requests per second for one row per request: our server, a bare HTTP handler with the same model, FastAPI.

    python bench/serving.py                    # ours, the bare handler, and FastAPI where its environment is there
    python bench/serving.py --install-peers    # makes bench/.envs/fastapi first

One worker each, the same histogram gradient boosting regressor on 10 features. Ours runs with everything on: feature
assembly, routing, metrics, and the prediction log on disk; once more without the log, and once more behind uvicorn
(through `loopwright.serving.http.asgi`) in place of our own HTTP connection. The bare handler is uvicorn, httptools and
uvloop around one call of the same compiled ONNX graph, and nothing else. FastAPI is written as its documentation writes
it: a Pydantic model, a data frame, the estimator's own ``predict``. The client is wrk where it is installed, else an
asyncio loop. Rounds alternate between the servers; medians and ratios are printed. ``cpu`` is the server's processor
time per request: the figure that other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEER = HERE / ".envs" / "fastapi"
KEYS = ("rps", "p50_ms", "p99_ms", "cpu_us")
NAMES = [f"x{number}" for number in range(10)]
ROW = {name: 0.1 * position for position, name in enumerate(NAMES)}


def prepare(folder: Path) -> None:
    """Train, register and promote the model; leave the graph and the estimator for the others."""
    import joblib
    import numpy as np
    import pyarrow as pa
    from sklearn.ensemble import HistGradientBoostingRegressor

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
    data = {name: random.normal(size=5000) for name in NAMES}
    X = model_input(data, fields)
    model = HistGradientBoostingRegressor(max_iter=100, random_state=0).fit(X, X["x0"] * 3 + X["x1"] ** 2)
    joblib.dump(model, folder / "model.joblib")
    stores = open_stores(Settings.load(folder, environ={}))
    (folder / "run").mkdir()
    version = Registry(stores).register(
        Candidate(
            model="eta",
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
    Aliases(stores).move("eta", "champion", 1, expected=None, by="bench", override=Override("bench", "a benchmark"))
    stores.close()


def run_ours(folder: Path, port: int) -> None:
    from loopwright.core.settings import Settings
    from loopwright.core.storage.stores import open_stores
    from loopwright.serving.deploy import online
    from loopwright.serving.models.model_source import RegistrySource
    from loopwright.serving.server.running import serve
    from loopwright.serving.server_plan import ServerPlan

    stores = open_stores(Settings.load(folder, environ={}))
    serve(stores, RegistrySource(stores), ServerPlan(models={"eta": online()}, port=port, drain_delay_s=0))


def run_no_log(folder: Path, port: int) -> None:
    """Ours with nothing written: no record is built, none encoded, none stored."""
    from loopwright.serving.calls.call_entry import CallLog

    def write(self, version, parts):
        now = self._clock.monotonic()
        for part in parts:
            self._log.drop(part.rows, "off")
            for entry in part.entries:
                route, door = entry.assignment.route, entry.call.protocol
                self._metrics.request(self._model, version, route, door, 200, now - entry.began, entry.rows)

    CallLog.write = write
    run_ours(folder, port)


def run_asgi(folder: Path, port: int) -> None:
    """Ours behind uvicorn."""
    import uvicorn

    from loopwright.serving.http.asgi import asgi_app
    from loopwright.serving.server import server

    class Uvicorn:
        closing = False

        def __init__(self, door) -> None:
            quiet = {"log_level": "error", "access_log": False, "lifespan": "off", "ws": "none"}
            self.server = uvicorn.Server(uvicorn.Config(asgi_app(door), http="httptools", loop="uvloop", **quiet))
            self.server.capture_signals = contextlib.nullcontext

        async def listen(self, sock) -> None:
            self.task = asyncio.create_task(self.server.serve(sockets=[sock]))

        async def close(self, *, timeout_s: float) -> None:
            self.server.should_exit = True
            await asyncio.wait_for(self.task, timeout_s)

    server.HttpServer = Uvicorn
    run_ours(folder, port)


def run_bare(folder: Path, port: int) -> None:
    import msgspec
    import numpy as np
    import onnxruntime
    import uvicorn

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        (folder / "model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    name, dtype = session.get_inputs()[0].name, session.get_inputs()[0].type
    kind = np.float64 if "double" in dtype else np.float32
    ok = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}

    async def app(scope, receive, send):
        if scope["path"] == "/readyz":
            body = b"{}"
        else:
            rows = msgspec.json.decode((await receive())["body"])["rows"]
            X = np.array([[row[column] for column in NAMES] for row in rows], dtype=kind)
            body = msgspec.json.encode({"predictions": session.run(None, {name: X})[0].ravel().tolist()})
        await send({**ok, "headers": [*ok["headers"], (b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})

    uvicorn.run(app, port=port, log_level="error", access_log=False, loop="uvloop", http="httptools", lifespan="off")


FASTAPI = """
import joblib, sys, pandas as pd, uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
app, model = FastAPI(), joblib.load(sys.argv[1])
class Row(BaseModel):
    {fields}
class Request(BaseModel):
    rows: list[Row]
@app.get("/readyz")
def ready():
    return {{}}
@app.post("/predict/eta")
def predict(request: Request):
    frame = pd.DataFrame([row.model_dump() for row in request.rows])
    return {{"predictions": model.predict(frame).tolist()}}
uvicorn.run(app, port=int(sys.argv[2]), log_level="error", access_log=False)
"""


class Server:
    """One server process of a role."""

    def __init__(self, role: str, folder: Path) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        command = [sys.executable, __file__, "--role", role, "--folder", str(folder), "--port", str(self.port)]
        if role == "fastapi":
            source = FASTAPI.format(fields="; ".join(f"{name}: float" for name in NAMES))
            command = [str(PEER / "bin" / "python"), "-c", source, str(folder / "model.joblib"), str(self.port)]
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        began = time.perf_counter()
        self.process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not self.is_ready():
            if self.process.poll() is not None:
                raise SystemExit(f"the server '{role}' ended with {self.process.returncode}")
            time.sleep(0.02)
        self.ready_s = time.perf_counter() - began

    def is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as sock:
                sock.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return b" 200 " in sock.recv(100)
        except OSError:
            return False

    def cpu_s(self) -> float:
        """Processor time so far, in user and system mode."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def with_wrk(port: int, connections: int, seconds: int, folder: Path) -> dict[str, float]:
    script = folder / "post.lua"
    script.write_text(
        f"wrk.method='POST'\nwrk.headers['Content-Type']='application/json'\nwrk.body='{json.dumps({'rows': [ROW]})}'\n"
    )
    text = subprocess.run(
        [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--latency",
            "-s",
            str(script),
            f"http://127.0.0.1:{port}/predict/eta",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(text)
    factor = {"us": 0.001, "ms": 1.0, "s": 1000.0}

    def quantile(label: str) -> float:
        number, unit = re.search(rf"{label}%\s+([\d.]+)(us|ms|s)", text).groups()
        return float(number) * factor[unit]

    return {
        "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
        "p50_ms": quantile("50"),
        "p99_ms": quantile("99"),
    }


async def with_asyncio(port: int, connections: int, seconds: float) -> dict[str, float]:
    body = json.dumps({"rows": [ROW]}).encode()
    request = (
        b"POST /predict/eta HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
        % (len(body), body)
    )
    ends = time.perf_counter() + seconds
    times: list[float] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := time.perf_counter()) < ends:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])
            await reader.readexactly(length)
            times.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    times.sort()
    return {
        "rps": len(times) / seconds,
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[int(len(times) * 0.99)] * 1000,
    }


def measure(server: Server, connections: int, seconds: float, folder: Path) -> dict[str, float]:
    seconds = max(1, round(seconds))
    before = server.cpu_s()
    if shutil.which("wrk"):
        found = with_wrk(server.port, connections, seconds, folder)
    else:
        found = asyncio.run(with_asyncio(server.port, connections, seconds))
    return {**found, "cpu_us": (server.cpu_s() - before) / (found["rps"] * seconds) * 1e6}


ROLES = {"ours": run_ours, "bare": run_bare, "no log": run_no_log, "uvicorn": run_asgi}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--install-peers", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--role")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--port", type=int)
    options = parser.parse_args()
    if options.role:
        ROLES[options.role](options.folder, options.port)
        return
    if options.install_peers and not PEER.exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEER)], check=True)
        import sklearn

        wanted = ["fastapi", "uvicorn[standard]", "pandas", f"scikit-learn=={sklearn.__version__}"]
        subprocess.run([str(PEER / "bin" / "pip"), "install", "-q", *wanted], check=True)
    roles = list(ROLES) + (["fastapi"] if (PEER / "bin" / "python").exists() else [])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        servers = {role: Server(role, folder) for role in roles}
        results: dict[tuple[str, int], list[dict[str, float]]] = {}
        try:
            for role, server in servers.items():
                measure(server, 4, 1.0, folder)
                print(f"{role:8} ready after {server.ready_s:.2f} s")
            for _ in range(options.rounds):
                for connections in (1, 32):
                    for role, server in servers.items():
                        found = measure(server, connections, options.seconds, folder)
                        results.setdefault((role, connections), []).append(found)
        finally:
            for server in servers.values():
                server.stop()
    for connections in (1, 32):
        medians = {
            role: {key: statistics.median(each[key] for each in results[role, connections]) for key in KEYS}
            for role in roles
        }
        print(f"\n{connections} connection(s), one row per request, median of {options.rounds} rounds")
        for role, found in medians.items():
            rate, half, tail, cpu = (found[key] for key in KEYS)
            print(f"  {role:8} {rate:9.0f} requests/s   p50 {half:7.3f} ms   p99 {tail:7.3f} ms   cpu {cpu:6.1f} µs")
        ours = medians["ours"]
        for role, said in (
            ("bare", "bare handler"),
            ("fastapi", "FastAPI"),
            ("no log", "no log"),
            ("uvicorn", "uvicorn"),
        ):
            if role in medians:
                peer = medians[role]
                rates, halves, cpus = (
                    ours["rps"] / peer["rps"],
                    *(peer[key] / ours[key] for key in ("p50_ms", "cpu_us")),
                )
                print(f"  ours / {said:12}  requests/s {rates:5.2f}   p50 {halves:5.2f}   cpu {cpus:5.2f}")
    if "fastapi" not in roles:
        print("\nFastAPI: no environment in bench/.envs/fastapi; run with --install-peers")


if __name__ == "__main__":
    main()
