# ruff: noqa: PLC0415 - each role imports what it needs
"""Large requests: 10,000 rows of 20 floats in one body, decoded and answered end to end.

    python bench/serving_batch_body.py

First the decoding alone, in this process: from the bytes of the body to the matrix that the model gets, as binary
tensors (one matrix; one tensor per column) and as JSON. Then the whole way over HTTP: one server, one worker, the
prediction log on, a logistic regression of 20 floats compiled as any model is; one caller, one request after another.
Times are the processor's: of this process for the decoding, of the server for the requests; wall times stand beside
them.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS, FIELDS, ROUNDS = 10_000, 20, 15
NAMES = [f"x{number}" for number in range(FIELDS)]


def bodies() -> dict[str, tuple[bytes, dict[str, str]]]:
    """Return the same rows in every form, with their headers."""
    import numpy as np

    matrix = np.random.default_rng(0).normal(size=(ROWS, FIELDS))
    predict = [{"name": "predict"}]

    def binary(tensors, outputs):
        blobs = [array.tobytes() for _, array in tensors]
        inputs = [
            {
                "name": name,
                "shape": list(array.shape),
                "datatype": {"<f4": "FP32", "<f8": "FP64"}[array.dtype.str],
                "parameters": {"binary_data_size": len(blob)},
            }
            for (name, array), blob in zip(tensors, blobs, strict=True)
        ]
        document: dict[str, object] = {"inputs": inputs, "outputs": outputs}
        header = json.dumps(document).encode()
        return b"".join([header, *blobs]), {"Inference-Header-Content-Length": str(len(header))}

    raw_out = [{"name": "predict", "parameters": {"binary_data": True}}]
    single = matrix.astype(np.float32)
    tensor = {"name": "rows", "shape": [ROWS, FIELDS], "datatype": "FP64"}
    columns = [
        {"name": name, "shape": [ROWS], "datatype": "FP64", "data": matrix[:, position].tolist()}
        for position, name in enumerate(NAMES)
    ]

    def as_json(inputs):
        return json.dumps({"inputs": inputs, "outputs": predict}).encode(), {"Content-Type": "application/json"}

    return {
        "binary, one FP32 matrix": binary([("rows", single)], raw_out),
        "binary, one FP64 matrix": binary([("rows", matrix)], raw_out),
        "binary, 20 FP32 columns": binary(
            [(name, np.ascontiguousarray(single[:, position])) for position, name in enumerate(NAMES)], raw_out
        ),
        "JSON, nested matrix": as_json([tensor | {"data": matrix.tolist()}]),
        "JSON, flat matrix": as_json([tensor | {"data": matrix.reshape(-1).tolist()}]),
        "JSON, 20 columns": as_json(columns),
    }


def decode(body: bytes, headers: dict[str, str]):
    """Return a function that makes of a body what the model gets."""
    from loopwright.features.assembly import FeatureAssembly
    from loopwright.features.field import Field
    from loopwright.features.request import RequestField
    from loopwright.serving.doors.open_inference import read_request, split_body
    from loopwright.serving.http.message import decode_json

    inputs = tuple(RequestField(name, "float") for name in NAMES)
    assembly = FeatureAssembly(inputs, tuple(Field(name, "float64") for name in NAMES))
    length = headers.get("Inference-Header-Content-Length")

    def run():
        document, raw = (decode_json(body), None) if length is None else split_body(body, length)
        return assembly.assemble(read_request(document, inputs, raw=raw).rows)

    return run


def prepare(folder: Path) -> None:
    """Register and promote the model."""
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
    columns = {name: random.normal(size=2000) for name in NAMES}
    frame = model_input(columns, fields)
    model = LogisticRegression().fit(frame, (frame["x0"] > 0).astype(int))
    stores = open_stores(Settings.load(folder, environ={}))
    (folder / "run").mkdir()
    Registry(stores).register(
        Candidate(
            model="late",
            run_id="run",
            model_file=save_model(model, folder / "run", trust=True),
            model_path=folder / "run",
            fields=fields,
            assembly=assembly_to_bytes(FeatureAssembly(tuple(RequestField(n, "float") for n in NAMES), fields)),
            training_set=Ref("training_set", "bench"),
            training_rows=pa.table(columns),
        )
    )
    Aliases(stores).move("late", "champion", 1, expected=None, by="bench", override=Override("bench", "a benchmark"))
    stores.close()


def run_server(folder: Path) -> None:
    from loopwright.core.settings import Settings
    from loopwright.core.storage.stores import open_stores
    from loopwright.serving.deploy import online
    from loopwright.serving.models.model_source import RegistrySource
    from loopwright.serving.server.running import serve
    from loopwright.serving.server_plan import ServerPlan

    stores = open_stores(Settings.load(folder, environ={}))
    plan = ServerPlan(models={"late": online()}, state_file=folder / "serving.json", port=0, drain_delay_s=0)
    serve(stores, RegistrySource(stores), plan)


def processor_s(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_decoding(forms: dict[str, tuple[bytes, dict[str, str]]]) -> None:
    print(f"Decoding {ROWS:,} rows of {FIELDS} floats: body to the model's matrix")
    for name, (body, headers) in forms.items():
        run = decode(body, headers)
        run()
        times = []
        for _ in range(ROUNDS):
            began = time.process_time()
            run()
            times.append(time.process_time() - began)
        seconds = statistics.median(times)
        print(f"  {name:26} {seconds * 1e3:7.2f} ms  {ROWS / seconds:14,.0f} rows/s")


def measure_requests(forms: dict[str, tuple[bytes, dict[str, str]]], folder: Path) -> None:
    script = str(Path(__file__).resolve())
    subprocess.run([sys.executable, "-W", "ignore", script, "--prepare", str(folder)], check=True)
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen([sys.executable, script, "--serve", str(folder)], stdout=log, stderr=log)
    try:
        connection = connect(folder, server)
        print("End to end over HTTP, one worker, log on: processor time of the server, and wall time")
        for name, (body, headers) in forms.items():
            for _ in range(2):
                ask(connection, body, headers)
            began, used = time.perf_counter(), processor_s(server.pid)
            for _ in range(ROUNDS):
                ask(connection, body, headers)
            wall, used = time.perf_counter() - began, processor_s(server.pid) - used
            rows = ROWS * ROUNDS
            print(f"  {name:26} {rows / used:12,.0f} rows/s of processor  {rows / wall:12,.0f} rows/s of wall")
    finally:
        server.terminate()
        server.wait(30)


def connect(folder: Path, server: subprocess.Popen[bytes]) -> http.client.HTTPConnection:
    state = folder / "serving.json"
    while server.poll() is None:
        if state.exists():
            connection = http.client.HTTPConnection("127.0.0.1", json.loads(state.read_text())["port"], timeout=60)
            connection.request("GET", "/v2/health/ready")
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                return connection
        time.sleep(0.05)
    raise SystemExit((folder / "server.log").read_text())


def ask(connection: http.client.HTTPConnection, body: bytes, headers: dict[str, str]) -> None:
    connection.request("POST", "/v2/models/late/infer", body, headers)
    answer = connection.getresponse()
    data = answer.read()
    if answer.status != 200:
        raise SystemExit(data.decode())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--prepare", type=Path)
    parser.add_argument("--serve", type=Path)
    options = parser.parse_args()
    if options.prepare:
        prepare(options.prepare)
    elif options.serve:
        run_server(options.serve)
    else:
        forms = bodies()
        measure_decoding(forms)
        with tempfile.TemporaryDirectory() as name:
            measure_requests(forms, Path(name))


if __name__ == "__main__":
    main()
