# ruff: noqa: PLC0415 - each role imports what it needs
"""The same gradient boosting behind our server and behind BentoML, MLflow, LitServe and FastAPI, asked by one client.

    python bench/serving_peers.py                      # ours, and the peers whose environments are there
    python bench/serving_peers.py --install-peers      # makes bench/.envs/{bentoml,mlflow,litserve,fastapi} first

The model of ``bench/serving.py`` (scikit-learn's histogram gradient boosting, 100 trees, 10 features), one row per
request as JSON, one worker each. Ours runs with everything on: feature assembly, routing, metrics, and the prediction
log on disk; it is asked at ``/predict/eta``, over gRPC (``ModelInfer``, FP64 in raw contents), and at ``/invocations``
with the very body that MLflow gets. The peers are written as their documentation writes them, with what they log and
count by default. They predict with the estimator; ours with the graph that registering the model compiled.

The client is ``serving_load.c`` for all. The closed loop asks on 1 and on 32 connections, in rounds that alternate
between the servers. On 1 connection it is asked twice: as the system places the processes, and with server and client
on one core. The two take turns, so that this costs nothing, and no core falls idle between two requests; on a virtual
machine waking one takes longer than our server takes for a request. In the open loop requests are due at fixed moments:
at half of what each server reached on 32 connections, and all at one rate that the slowest still carries; a latency
counts from the moment a request was due.
``cpu`` is the processor time of the server's processes per request: the figure that other work on the machine disturbs
least. Medians, and ratios of requests per second and of processor time, are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from serving_load import Process, at_rate, closed, free_port, get, grpc_request, http_request, machine

from serving import FASTAPI, NAMES, ROW, prepare

ENVS = Path(__file__).resolve().parent / ".envs"
WANTED = {
    "bentoml": ("bentoml", "pandas"),
    "mlflow": ("mlflow", "pandas"),
    "litserve": ("litserve", "pandas"),
    "fastapi": ("fastapi", "uvicorn[standard]", "pandas"),
}
TARGETS = {"fastapi": 10, "bentoml": 20, "mlflow": 20, "litserve": 20}
ONE_CORE = "1 connection, server and client on one core"
CLOSED = {"1 connection": 1, ONE_CORE: 1, "32 connections": 32}
KEYS = ("rps", "p50_ms", "p95_ms", "p99_ms", "cpu_us")

BENTOML = """
import bentoml, joblib, pandas as pd
from pydantic import BaseModel
class Row(BaseModel):
    {fields}
@bentoml.service(workers=1)
class Eta:
    def __init__(self) -> None:
        self.model = joblib.load({model!r})
    @bentoml.api
    def predict(self, rows: list[Row]) -> list[float]:
        return self.model.predict(pd.DataFrame([row.model_dump() for row in rows])).tolist()
"""

LITSERVE = """
import sys, joblib, litserve, pandas as pd
class Eta(litserve.LitAPI):
    def setup(self, device):
        self.model = joblib.load(sys.argv[1])
    def decode_request(self, request):
        return pd.DataFrame(request["rows"])
    def predict(self, frame):
        return self.model.predict(frame)
    def encode_response(self, output):
        return {"predictions": output.tolist()}
if __name__ == "__main__":
    server = litserve.LitServer(Eta(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), num_api_servers=1, generate_client_file=False)
"""

MLFLOW_SAVE = """
import sys, joblib, mlflow.sklearn
mlflow.sklearn.save_model(
    joblib.load(sys.argv[1]), sys.argv[2], pip_requirements=["scikit-learn"], serialization_format="cloudpickle"
)
"""


def serve_ours(folder: Path, port: int, grpc_port: int) -> None:
    """Run our server, as a project's is run."""
    from loopwright.core.settings import Settings
    from loopwright.core.storage.stores import open_stores
    from loopwright.serving.deploy import online
    from loopwright.serving.grpc.server import GrpcServer
    from loopwright.serving.models.model_source import RegistrySource
    from loopwright.serving.server.running import serve
    from loopwright.serving.server_plan import ServerPlan

    stores = open_stores(Settings.load(folder, environ={}))
    plan = ServerPlan(models={"eta": online()}, port=port, grpc_port=grpc_port, drain_delay_s=0)
    serve(stores, RegistrySource(stores), plan, doors=(GrpcServer,))


def grpc_message() -> bytes:
    """Return the row as a ``ModelInferRequest``: one input of FP64 in raw contents."""
    import numpy as np

    from loopwright.serving.grpc.proto_file import Messages
    from loopwright.serving.grpc.protocol import INFERENCE

    row = np.array([list(ROW.values())], dtype="<f8")
    request = Messages([INFERENCE])["inference.ModelInferRequest"](model_name="eta", raw_input_contents=[row.tobytes()])
    request.inputs.add(name="input", datatype="FP64", shape=row.shape)
    return bytes(request.SerializeToString())


class Peer:
    """A way to ask a server: which server, and with what request."""

    def __init__(self, server: Process, port: int, request: bytes, protocol: str = "http") -> None:
        self.server = server
        self.port = port
        self.request = request
        self.protocol = protocol

    def closed(self, connections: int, seconds: float, *, one_core: bool = False) -> dict[str, float]:
        """Measure one round of the closed loop."""
        cores = os.sched_getaffinity(0)
        core = min(cores) if one_core else None
        if one_core:
            self.server.bind({min(cores)})
        before = self.server.cpu_s()
        found = closed(self.port, [self.request], connections, seconds, protocol=self.protocol, core=core)
        figures = self._figures(found, before)
        if one_core:
            self.server.bind(cores)
        return figures

    def open(self, rate: float, seconds: float) -> dict[str, float]:
        """Measure one round of the open loop."""
        before = self.server.cpu_s()
        found = at_rate(self.port, [self.request], rate, seconds, connections=128, protocol=self.protocol)
        return self._figures(found, before)

    def _figures(self, found, before: float) -> dict[str, float]:
        if found.failed and len(found.answered) < 2 * found.failed:
            raise SystemExit(f"not answered: {found.statuses()}")
        return {
            "rps": found.rps,
            **{f"p{share}_ms": found.quantile_ms(share / 100) for share in (50, 95, 99)},
            "cpu_us": (self.server.cpu_s() - before) / max(1, len(found.answered)) * 1e6,
            "failed": found.failed,
        }


def start(folder: Path) -> tuple[dict[str, Peer], list[Process]]:
    """Start ours, and the peers that are installed."""
    peers: dict[str, Peer] = {}
    rows = json.dumps({"rows": [ROW]}).encode()
    split = json.dumps({"dataframe_split": {"columns": NAMES, "data": [list(ROW.values())]}}).encode()
    model = folder / "model.joblib"

    def run(name: str, command: list[object], ready: bytes, path: str, body: bytes) -> Process | None:
        port = free_port()
        words = [str(port) if word is free_port else word for word in command]
        try:
            server = Process(words, port, ready, folder / f"{name}.txt")
        except RuntimeError as error:
            print(f"{name}: {error}")
            return None
        peers[name] = Peer(server, port, http_request(path, body))
        return server

    grpc_port = free_port()
    command = [sys.executable, __file__, "--serve", folder, "--port", free_port, "--grpc-port", str(grpc_port)]
    servers = [run("ours", command, get("/readyz"), "/predict/eta", rows)]
    if servers[0] is None:
        raise SystemExit(1)
    call = grpc_request("/inference.GRPCInferenceService/ModelInfer", grpc_message())
    peers["ours, gRPC"] = Peer(servers[0], grpc_port, call, "grpc")
    peers["ours, as MLflow"] = Peer(servers[0], peers["ours"].port, http_request("/invocations", split))

    python = {name: ENVS / name / "bin" / "python" for name in WANTED}
    fields = "; ".join(f"{name}: float" for name in NAMES)
    if python["fastapi"].exists():
        source = FASTAPI.format(fields=fields)
        command = [python["fastapi"], "-c", source, model, free_port]
        servers.append(run("fastapi", command, get("/readyz"), "/predict/eta", rows))
    if python["bentoml"].exists():
        (folder / "eta_bento.py").write_text(BENTOML.format(fields=fields, model=str(model)))
        command = [python["bentoml"], "-m", "bentoml", "serve", "eta_bento:Eta", "--working-dir", folder]
        command += ["--host", "127.0.0.1", "--port", free_port]
        os.environ["BENTOML_DO_NOT_TRACK"] = "True"
        os.environ["BENTOML_HOME"] = str(folder / "bentoml")
        servers.append(run("bentoml", command, get("/readyz"), "/predict", rows))
    if python["mlflow"].exists():
        saved = folder / "mlflow"
        subprocess.run([python["mlflow"], "-c", MLFLOW_SAVE, model, saved], check=True, capture_output=True)
        os.environ["PATH"] = f"{ENVS / 'mlflow' / 'bin'}:{os.environ['PATH']}"
        command = [ENVS / "mlflow" / "bin" / "mlflow", "models", "serve", "-m", saved, "-h", "127.0.0.1"]
        command += ["-p", free_port, "-w", "1", "--env-manager", "local"]
        servers.append(run("mlflow", command, get("/ping"), "/invocations", split))
    if python["litserve"].exists():
        (folder / "eta_lit.py").write_text(LITSERVE)
        command = [python["litserve"], folder / "eta_lit.py", model, free_port]
        servers.append(run("litserve", command, get("/health"), "/predict", rows))
    return peers, [server for server in servers if server is not None]


def median(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Return the medians of several rounds."""
    return {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}


def say(name: str, found: dict[str, float]) -> None:
    """Print one line."""
    rate, half, most, tail, cpu = (found[key] for key in KEYS)
    failed = f"   failed {found['failed']:.0f}" if found["failed"] else ""
    print(
        f"  {name:16} {rate:8.0f} requests/s   p50 {half:8.3f}   p95 {most:8.3f}   p99 {tail:8.3f} ms"
        f"   cpu {cpu:7.1f} µs{failed}"
    )


def compare(found: dict[str, dict[str, float]]) -> None:
    """Print the ratios to the peers."""
    for name, target in TARGETS.items():
        if name not in found:
            continue
        for own in ("ours", "ours, gRPC") + (("ours, as MLflow",) if name == "mlflow" else ()):
            rates, halves, cpus = (
                found[own]["rps"] / found[name]["rps"],
                *(found[name][key] / found[own][key] for key in ("p50_ms", "cpu_us")),
            )
            said = "reached" if rates >= target else "missed"
            print(
                f"  {own + ' / ' + name:28} requests/s {rates:6.1f} ({target} {said})   p50 {halves:6.1f}"
                f"   cpu {cpus:6.1f}"
            )


def measure(peers: dict[str, Peer], rounds: int, seconds: float) -> None:
    """Measure, and print."""
    for peer in peers.values():
        peer.closed(4, 1.0)
    reached: dict[str, float] = {}
    for said, connections in CLOSED.items():
        results: dict[str, list[dict[str, float]]] = {}
        for _ in range(rounds):
            for name, peer in peers.items():
                results.setdefault(name, []).append(peer.closed(connections, seconds, one_core=said == ONE_CORE))
        print(f"\nclosed loop, {said}, median of {rounds} rounds of {seconds:g} s")
        medians = {name: median(each) for name, each in results.items()}
        for name, found in medians.items():
            say(name, found)
        compare(medians)
        reached = {name: found["rps"] for name, found in medians.items()}
    common = 0.5 * min(reached.values())
    for said, rates in (
        ("half of what each reached on 32 connections", {name: 0.5 * rate for name, rate in reached.items()}),
        (f"{common:.0f} requests/s for each", dict.fromkeys(reached, common)),
    ):
        results = {}
        for _ in range(rounds):
            for name, peer in peers.items():
                results.setdefault(name, []).append(peer.open(rates[name], seconds))
        print(f"\nopen loop, {said}; latency from when a request was due")
        for name, each in results.items():
            say(name, median(each))


def install(names: list[str]) -> None:
    """Make the environments that are not there."""
    import sklearn

    for name in names:
        if not (ENVS / name / "bin" / "python").exists():
            venv.create(ENVS / name, with_pip=True)
            pip = [ENVS / name / "bin" / "pip", "install", "-q", *WANTED[name], f"scikit-learn=={sklearn.__version__}"]
            subprocess.run(pip, check=True)


def main() -> None:
    """Measure, or serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--install-peers", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--grpc-port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve_ours(options.serve, options.port, options.grpc_port)
        return
    if options.install_peers:
        install(list(WANTED))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        peers, servers = start(folder)
        try:
            print(", ".join(f"{name} ready after {peer.server.ready_s:.1f} s" for name, peer in peers.items()))
            measure(peers, options.rounds, options.seconds)
            for each, peer in peers.items():
                if "," not in each:
                    print(f"  {each}: {peer.server.memory_mib():.0f} MiB, {len(peer.server.everybody())} processes")
        finally:
            for server in servers:
                server.stop()
    missing = [name for name in WANTED if not (ENVS / name / "bin" / "python").exists()]
    if missing:
        print(f"no environment for {', '.join(missing)}; run with --install-peers")
    print(machine())


if __name__ == "__main__":
    main()
