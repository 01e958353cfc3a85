# ruff: noqa: PLC0415, N803, D102, FBT003, PT017, PT018, TRY300 - a role imports what it needs; X is a usual name;
# a check is a plain function whose assertions are read by people
"""Clients of the Open Inference Protocol that others wrote, against our server: what passes.

    python bench/protocol_clients.py                    # with the clients whose environments are there
    python bench/protocol_clients.py --install-peers    # makes bench/.envs/tritonclient and bench/.envs/kserve first

The server runs models from a registry as any project's: one that adds and subtracts two INT32 inputs of 16 and answers
OUTPUT0 and OUTPUT1, some that answer what they were sent in every datatype, a regression and a classifier. The clients
run unchanged in environments of their own: Triton's over HTTP (blocking and asyncio, JSON and binary tensors, packed)
and gRPC, and KServe's inference clients over both. What a check does is written here and follows the clients' own
documentation.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = {"tritonclient": ["tritonclient[http,grpc]", "numpy", "ml_dtypes"], "kserve": ["kserve"]}
INTEGERS = [f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
FLOATS = ["FP16", "FP32", "FP64"]


class AddSub:
    """OUTPUT0 is the sum of the inputs, OUTPUT1 the difference."""

    def predict(self, X):
        values = X.to_numpy()
        first, second = values[:, :16], values[:, 16:]
        return {"OUTPUT0": first + second, "OUTPUT1": first - second}


class Echo:
    """Each output is the input in another type."""

    def __init__(self, outputs):
        self.outputs = outputs

    def predict(self, X):
        values = X.to_numpy() if hasattr(X, "to_numpy") else X
        if "str" in self.outputs.values():
            return {name: values[:, 0].astype(object) for name in self.outputs}
        return {name: values.astype(dtype) for name, dtype in self.outputs.items()}


def prepare(folder: Path) -> None:
    """Register and promote the models."""
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import LinearRegression, LogisticRegression

    from loopwright.core.settings import Settings
    from loopwright.core.storage.stores import open_stores
    from loopwright.registry.alias import Aliases, Override
    from loopwright.registry.given import given_candidate
    from loopwright.registry.registry import Registry

    random = np.random.default_rng(0)
    columns = {name: random.normal(size=50) for name in ("a", "b", "c")}
    frame = pd.DataFrame(columns)
    integers = Echo({f"OUT_{one}": one.lower() for one in INTEGERS})
    floats = Echo({f"OUT_{one}": f"float{one[2:]}" for one in FLOATS})
    pair = {name: random.integers(-100, 100, (20, 16)).astype(np.int32) for name in ("INPUT0", "INPUT1")}
    models = {
        "simple": (AddSub(), pair),
        "integers": (integers, {"X": random.integers(0, 9, (9, 4))}),
        "floats": (floats, {"X": random.normal(size=(9, 4))}),
        "flags": (Echo({"OUT_BOOL": "bool"}), {"X": random.integers(0, 2, (9, 4)).astype(bool)}),
        "texts": (Echo({"OUT": "str"}), {"X": np.array(["a", "bé", "c"], dtype=object)}),
        "eta": (LinearRegression().fit(frame, frame["a"] * 2 + frame["b"]), columns),
        "late": (LogisticRegression().fit(frame, np.where(frame["a"] > 0, "late", "early")), columns),
    }
    stores = open_stores(Settings.load(folder, environ={}))
    for name, (model, rows) in models.items():
        run = folder / f"run-{name}"
        run.mkdir()
        Registry(stores).register(given_candidate(name, model, rows, run, trust=True))
        Aliases(stores).move(name, "champion", 1, expected=None, by="bench", override=Override("bench", "a check"))
    stores.close()


MODELS = ("simple", "integers", "floats", "flags", "texts", "eta", "late")


def serve_models(folder: Path) -> None:
    from loopwright.core.settings import Settings
    from loopwright.core.storage.stores import open_stores
    from loopwright.serving.deploy import online
    from loopwright.serving.grpc.server import GrpcServer
    from loopwright.serving.models.model_source import RegistrySource
    from loopwright.serving.server.running import serve
    from loopwright.serving.server_plan import ServerPlan

    stores = open_stores(Settings.load(folder, environ={}))
    plan = ServerPlan(
        models=dict.fromkeys(MODELS, online()),
        state_file=folder / "serving.json",
        port=0,
        grpc_port=0,
        drain_delay_s=0,
    )
    serve(stores, RegistrySource(stores), plan, doors=(GrpcServer,))


def sample(datatype: str):
    """Four values of a datatype that show its width."""
    import numpy as np

    if datatype == "BOOL":
        return np.array([[True, False, False, True]])
    if datatype in INTEGERS:
        limits = np.iinfo(datatype.lower())
        most = min(int(limits.max), 2**63 - 1)
        return np.array([[limits.min, most, 0, most - 1]], dtype=datatype.lower())
    dtype = f"float{datatype[2:]}"
    return np.array([[0.0, -1.5, 0.1, 100.25]], dtype=dtype)


HOME = {**dict.fromkeys(INTEGERS, "integers"), **dict.fromkeys(FLOATS, "floats"), "BOOL": "flags"}


def triton_http(address: str, _grpc: str | None):
    """Yield the checks of Triton's HTTP client as pairs of a name and a function."""
    import numpy as np
    import tritonclient.http as http

    client = http.InferenceServerClient(address)

    def same(expected, found):
        assert found is not None
        assert found.dtype == expected.dtype, (found.dtype, expected.dtype)
        assert np.array_equal(found, expected), (found, expected)

    def lifecycle():
        assert client.is_server_live() and client.is_server_ready()
        assert client.is_model_ready("simple") and client.is_model_ready("simple", "1")
        assert not client.is_model_ready("nobody") and not client.is_model_ready("simple", "9")
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        assert [one["name"] for one in client.get_model_metadata("simple")["inputs"]] == ["INPUT0", "INPUT1"]
        assert {one["name"] for one in client.get_model_repository_index()} == set(MODELS)

    yield "live, ready, metadata, index", lifecycle

    def add_sub(binary_in, binary_out, **options):
        a = np.arange(16, dtype=np.int32).reshape(1, 16)
        b = np.ones((1, 16), dtype=np.int32)
        inputs = [http.InferInput("INPUT0", [1, 16], "INT32"), http.InferInput("INPUT1", [1, 16], "INT32")]
        inputs[0].set_data_from_numpy(a, binary_data=binary_in)
        inputs[1].set_data_from_numpy(b, binary_data=binary_in)
        outputs = None
        if binary_out is not None:
            outputs = [http.InferRequestedOutput(f"OUTPUT{n}", binary_data=binary_out) for n in (0, 1)]
        answer = client.infer("simple", inputs, outputs=outputs, request_id="17", **options)
        assert answer.get_response()["id"] == "17"
        same(a + b, answer.as_numpy("OUTPUT0"))
        same(a - b, answer.as_numpy("OUTPUT1"))

    for binary_in in (True, False):
        for binary_out in (True, False, None):
            shown = {True: "binary", False: "JSON", None: "default"}
            yield (
                f"add/sub, {shown[binary_in]} in, {shown[binary_out]} out",
                lambda i=binary_in, o=binary_out: add_sub(i, o),
            )
    yield "add/sub, version 1", lambda: add_sub(True, True, model_version="1")
    yield "add/sub, request packed with gzip", lambda: add_sub(True, True, request_compression_algorithm="gzip")
    yield "add/sub, request packed with deflate", lambda: add_sub(True, True, request_compression_algorithm="deflate")
    yield "add/sub, response may be packed", lambda: add_sub(True, True, response_compression_algorithm="gzip")
    yield "add/sub, timeout in the request", lambda: add_sub(True, True, timeout=5_000_000)

    def mixed():
        a, b = np.full((2, 16), 7, dtype=np.int32), np.full((2, 16), 3, dtype=np.int32)
        inputs = [http.InferInput("INPUT0", [2, 16], "INT32"), http.InferInput("INPUT1", [2, 16], "INT32")]
        inputs[0].set_data_from_numpy(a, binary_data=True)
        inputs[1].set_data_from_numpy(b, binary_data=False)
        outputs = [
            http.InferRequestedOutput("OUTPUT1", binary_data=False),
            http.InferRequestedOutput("OUTPUT0", binary_data=True),
        ]
        answer = client.infer("simple", inputs, outputs=outputs)
        same(a + b, answer.as_numpy("OUTPUT0"))
        same(a - b, answer.as_numpy("OUTPUT1"))

    yield "add/sub, binary and JSON mixed, two rows", mixed

    def echo(datatype, *, binary):
        values = sample(datatype)
        given = http.InferInput("X", [1, 4], datatype)
        given.set_data_from_numpy(values, binary_data=binary)
        name = f"OUT_{datatype}"
        outputs = [http.InferRequestedOutput(name, binary_data=binary)]
        same(values, client.infer(HOME[datatype], [given], outputs=outputs).as_numpy(name))

    for datatype in HOME:
        yield f"{datatype} binary", lambda d=datatype: echo(d, binary=True)
        if datatype != "FP16":
            yield f"{datatype} JSON", lambda d=datatype: echo(d, binary=False)

    def bf16():
        import ml_dtypes

        values = np.array([[1.0, -2.5, 0.0, 256.0]], dtype=np.float32)
        given = http.InferInput("X", [1, 4], "BF16")
        given.set_data_from_numpy(values.astype(ml_dtypes.bfloat16), binary_data=True)
        same(values, client.infer("floats", [given]).as_numpy("OUT_FP32"))

    yield "BF16 binary in", bf16

    def texts(binary):
        values = np.array([b"plain", "Tromsø".encode(), b""], dtype=object)
        given = http.InferInput("X", [3], "BYTES")
        given.set_data_from_numpy(values, binary_data=binary)
        outputs = [http.InferRequestedOutput("OUT", binary_data=binary)]
        found = client.infer("texts", [given], outputs=outputs).as_numpy("OUT")
        plain = [one.decode() if isinstance(one, bytes) else one for one in found.tolist()]
        assert plain == ["plain", "Tromsø", ""], plain

    yield "BYTES binary", lambda: texts(True)
    yield "BYTES JSON", lambda: texts(False)

    def tabular():
        matrix = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]])
        given = http.InferInput("rows", [2, 3], "FP64")
        given.set_data_from_numpy(matrix)
        answer = client.infer("eta", [given])
        assert np.allclose(answer.as_numpy("predict"), [4.0, 1.0])
        assert len(answer.as_numpy("prediction_id")) == 2
        answer = client.infer("late", [given], outputs=[http.InferRequestedOutput("predict_proba")])
        assert answer.as_numpy("predict_proba").shape == (2, 2)

    yield "a matrix for a regression and a classifier", tabular

    def raw_body():
        body, values = sample("INT64").tobytes(), sample("INT64")
        answer = client._post(  # noqa: SLF001 - the client has no call for it
            "v2/models/integers/infer", body, {"Inference-Header-Content-Length": "0"}, None
        )
        found = http.InferResult.from_response_body(
            bytes(answer.read()), header_length=int(answer.get("Inference-Header-Content-Length"))
        )
        same(values, found.as_numpy("OUT_INT64"))

    yield "a body that is one raw tensor", raw_body

    def refusals():
        from tritonclient.utils import InferenceServerException

        given = http.InferInput("WRONG", [1, 4], "INT64")
        given.set_data_from_numpy(sample("INT64"))
        for model, version, said in (("integers", "", "WRONG"), ("nobody", "", "nobody"), ("integers", "9", "9")):
            try:
                client.infer(model, [given], model_version=version)
            except InferenceServerException as error:
                assert said in error.message(), error
                assert error.status() in ("400", "404"), error.status()
            else:
                raise AssertionError("nothing was refused")

    yield "refusals arrive as the client's own error", refusals

    def at_once():
        waiting = []
        for number in range(20):
            given = http.InferInput("X", [1, 4], "INT64")
            given.set_data_from_numpy(np.full((1, 4), number, dtype=np.int64))
            waiting.append(client.async_infer("integers", [given]))
        for number, one in enumerate(waiting):
            assert one.get_result().as_numpy("OUT_INT64").tolist() == [[number] * 4]

    yield "async_infer, 20 at once", at_once

    def aio():
        import tritonclient.http.aio as aio_http

        async def run():
            async with aio_http.InferenceServerClient(address) as one:
                assert await one.is_server_ready()

                async def ask(number):
                    given = aio_http.InferInput("X", [1, 4], "INT64")
                    given.set_data_from_numpy(np.full((1, 4), number, dtype=np.int64), binary_data=bool(number % 2))
                    answer = await one.infer("integers", [given])
                    assert answer.as_numpy("OUT_INT64").tolist() == [[number] * 4]

                await asyncio.gather(*map(ask, range(20)))

        asyncio.run(run())

    yield "aio, 20 at once", aio


def triton_grpc(_address: str, grpc_address: str | None):
    """Yield the checks of Triton's gRPC client; none where the server has no such door."""
    if grpc_address is None:
        return
    import numpy as np
    import tritonclient.grpc as grpc

    client = grpc.InferenceServerClient(grpc_address)

    def lifecycle():
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("simple")
        assert {one.name for one in client.get_model_metadata("simple").outputs} >= {"OUTPUT0", "OUTPUT1"}

    yield "live, ready, metadata", lifecycle

    def add_sub():
        a = np.arange(16, dtype=np.int32).reshape(1, 16)
        inputs = [grpc.InferInput(f"INPUT{n}", [1, 16], "INT32") for n in (0, 1)]
        for one in inputs:
            one.set_data_from_numpy(a)
        answer = client.infer("simple", inputs, outputs=[grpc.InferRequestedOutput(f"OUTPUT{n}") for n in (0, 1)])
        assert np.array_equal(answer.as_numpy("OUTPUT0"), a + a)
        assert np.array_equal(answer.as_numpy("OUTPUT1"), a - a)

    yield "add/sub", add_sub

    def echo(datatype):
        values = sample(datatype)
        given = grpc.InferInput("X", [1, 4], datatype)
        given.set_data_from_numpy(values)
        name = f"OUT_{datatype}"
        found = client.infer(HOME[datatype], [given], outputs=[grpc.InferRequestedOutput(name)]).as_numpy(name)
        assert found.dtype == values.dtype and np.array_equal(found, values), found

    for datatype in HOME:
        yield datatype, lambda d=datatype: echo(d)

    def texts():
        given = grpc.InferInput("X", [2], "BYTES")
        given.set_data_from_numpy(np.array([b"plain", "Tromsø".encode()], dtype=object))
        assert client.infer("texts", [given]).as_numpy("OUT").tolist() == [b"plain", "Tromsø".encode()]

    yield "BYTES", texts

    def aio():
        import tritonclient.grpc.aio as aio_grpc

        async def run():
            async with aio_grpc.InferenceServerClient(grpc_address) as one:

                async def ask(number):
                    given = aio_grpc.InferInput("X", [1, 4], "INT64")
                    given.set_data_from_numpy(np.full((1, 4), number, dtype=np.int64))
                    answer = await one.infer("integers", [given])
                    assert answer.as_numpy("OUT_INT64").tolist() == [[number] * 4]

                await asyncio.gather(*map(ask, range(20)))

        asyncio.run(run())

    yield "aio, 20 at once", aio


def kserve_rest(address: str, _grpc: str | None):
    """Yield the checks of KServe's REST client, each with a client of its own event loop."""
    import numpy as np
    from kserve import InferenceRESTClient, InferInput, InferRequest
    from kserve.inference_client import RESTConfig

    def run(work):
        async def inside():
            client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0, timeout=30))
            try:
                await work(client)
            finally:
                await client.close()

        asyncio.run(inside())

    base = f"http://{address}"

    async def lifecycle(client):
        assert await client.is_server_live(base)
        assert await client.is_server_ready(base)
        assert await client.is_model_ready(base, "simple")

    yield "live, ready", lambda: run(lifecycle)

    def add_sub(binary):
        async def work(client):
            a = np.arange(16, dtype=np.int32).reshape(1, 16)
            inputs = [InferInput(f"INPUT{n}", [1, 16], "INT32") for n in (0, 1)]
            for one in inputs:
                one.set_data_from_numpy(a, binary_data=binary)
            parameters = {"binary_data_output": True} if binary else None
            request = InferRequest("simple", inputs, request_id="5", parameters=parameters)
            answer = await client.infer(base, request, model_name="simple")
            assert answer.id == "5"
            found = {one.name: one.as_numpy() for one in answer.outputs}
            assert np.array_equal(found["OUTPUT0"], a + a)
            assert np.array_equal(found["OUTPUT1"], a - a)

        run(work)

    yield "add/sub JSON", lambda: add_sub(False)
    yield "add/sub binary", lambda: add_sub(True)

    def echo(datatype, binary):
        async def work(client):
            values = sample(datatype)
            given = InferInput("X", [1, 4], datatype)
            given.set_data_from_numpy(values, binary_data=binary)
            parameters = {"binary_data_output": True} if binary else None
            request = InferRequest(HOME[datatype], [given], parameters=parameters)
            if not binary:
                from kserve.protocol.infer_type import RequestedOutput

                request.request_outputs = [RequestedOutput(f"OUT_{datatype}")]
            answer = await client.infer(base, request, model_name=HOME[datatype])
            found = {one.name: one.as_numpy() for one in answer.outputs}[f"OUT_{datatype}"]
            assert found.dtype == values.dtype and np.array_equal(found, values), (found, values)

        run(work)

    for datatype in HOME:
        yield f"{datatype} binary", lambda d=datatype: echo(d, True)
        if datatype != "FP16":
            yield f"{datatype} JSON", lambda d=datatype: echo(d, False)

    def texts(binary):
        async def work(client):
            given = InferInput("X", [2], "BYTES")
            given.set_data_from_numpy(np.array(["plain", "Tromsø"], dtype=object), binary_data=binary)
            parameters = {"binary_data_output": True} if binary else None
            answer = await client.infer(base, InferRequest("texts", [given], parameters=parameters), model_name="texts")
            found = answer.outputs[0].as_numpy().tolist()
            plain = [one.decode() if isinstance(one, bytes) else one for one in found]
            assert plain == ["plain", "Tromsø"], plain

        run(work)

    yield "BYTES JSON", lambda: texts(False)
    yield "BYTES binary", lambda: texts(True)


def kserve_grpc(_address: str, grpc_address: str | None):
    """Yield the checks of KServe's gRPC client; none where the server has no such door."""
    if grpc_address is None:
        return
    import numpy as np
    from kserve import InferenceGRPCClient, InferInput, InferRequest

    def run(work):
        async def inside():
            client = InferenceGRPCClient(grpc_address, retries=0)
            try:
                await work(client)
            finally:
                await client.close()

        asyncio.run(inside())

    async def lifecycle(client):
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("simple")

    yield "live, ready", lambda: run(lifecycle)

    def add_sub(raw):
        async def work(client):
            a = np.arange(16, dtype=np.int32).reshape(1, 16)
            inputs = [InferInput(f"INPUT{n}", [1, 16], "INT32") for n in (0, 1)]
            for one in inputs:
                one.set_data_from_numpy(a, binary_data=raw)
            answer = await client.infer(InferRequest("simple", inputs, request_id="5"))
            found = {one.name: one.as_numpy() for one in answer.outputs}
            assert np.array_equal(found["OUTPUT0"], a + a)
            assert np.array_equal(found["OUTPUT1"], a - a)

        run(work)

    yield "add/sub raw", lambda: add_sub(True)
    yield "add/sub typed", lambda: add_sub(False)


CHECKS = {
    "tritonclient": {"tritonclient HTTP": triton_http, "tritonclient gRPC": triton_grpc},
    "kserve": {"kserve REST": kserve_rest, "kserve gRPC": kserve_grpc},
}


def run_checks(peer: str, address: str, grpc_address: str | None) -> None:
    """Run a client's checks and print one JSON object for each."""
    for client, make in CHECKS[peer].items():
        for name, check in make(address, grpc_address):
            try:
                check()
                failed = None
            except Exception as error:  # noqa: BLE001 - what fails is the finding
                last = traceback.extract_tb(error.__traceback__)[-1]
                failed = f"{type(error).__name__}: {error} ({last.name}:{last.lineno})"
            print(json.dumps({"client": client, "check": name, "failed": failed}), flush=True)


def install(peer: str) -> None:
    folder = HERE / ".envs" / peer
    if not (folder / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(folder / "bin" / "pip"), "install", "-q", *PEERS[peer]], check=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--install-peers", action="store_true")
    parser.add_argument("--serve", type=Path)
    parser.add_argument("--prepare", type=Path)
    parser.add_argument("--peer")
    parser.add_argument("--http")
    parser.add_argument("--grpc")
    options = parser.parse_args()
    if options.prepare:
        return prepare(options.prepare)
    if options.serve:
        return serve_models(options.serve)
    if options.peer:
        sys.argv[1:] = []  # KServe reads the command line when it is imported
        return run_checks(options.peer, options.http, options.grpc)
    if options.install_peers:
        for peer in PEERS:
            install(peer)
    with tempfile.TemporaryDirectory() as name:
        drive(Path(name))
    return None


def drive(folder: Path) -> None:
    script = str(Path(__file__).resolve())
    subprocess.run([sys.executable, "-W", "ignore", script, "--prepare", str(folder)], check=True)
    log = (folder / "server.log").open("wb")
    server = subprocess.Popen([sys.executable, script, "--serve", str(folder)], stdout=log, stderr=log)
    try:
        state = folder / "serving.json"
        while not state.exists():
            assert server.poll() is None, (folder / "server.log").read_text()
            time.sleep(0.05)
        document = json.loads(state.read_text())
        wait_ready(document["port"], server)
        arguments = ["--http", f"127.0.0.1:{document['port']}"]
        if listens(document.get("grpc_port")):
            arguments += ["--grpc", f"127.0.0.1:{document['grpc_port']}"]
        for peer in PEERS:
            python = HERE / ".envs" / peer / "bin" / "python"
            if not python.exists():
                print(f"{peer}: no environment; run with --install-peers")
                continue
            show(
                subprocess.run(
                    [str(python), "-W", "ignore", script, "--peer", peer, *arguments], capture_output=True, check=False
                )
            )
    finally:
        server.terminate()
        server.wait(30)


def wait_ready(port: int, server: subprocess.Popen) -> None:
    from urllib.error import URLError
    from urllib.request import urlopen

    while server.poll() is None:
        try:
            urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5)
            return
        except (URLError, ConnectionError):
            time.sleep(0.05)
    raise AssertionError("the server ended")


def listens(port: int | None) -> bool:
    if port is None:
        return False
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def show(done: subprocess.CompletedProcess) -> None:
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
    if done.returncode:
        print(done.stderr.decode()[-2000:])
    for client in dict.fromkeys(line["client"] for line in lines):
        own = [line for line in lines if line["client"] == client]
        passed = sum(line["failed"] is None for line in own)
        print(f"{client}: {passed} of {len(own)} pass")
        for line in own:
            print(f"  {'pass' if line['failed'] is None else 'FAIL'}  {line['check']}")
            if line["failed"]:
                print(f"        {line['failed'][:400]}")


if __name__ == "__main__":
    main()
