"""Let schemathesis ask a server whatever its own description allows, and what it does not: no answer may be a 5xx.

    python bench/openapi_fuzz.py                     # our server; schemathesis where its environment is there
    python bench/openapi_fuzz.py --install-peers     # makes bench/.envs/schemathesis first
    python bench/openapi_fuzz.py --examples 300      # per route; 60 by default

Two models are served, with everything on: one on customers (a whole number, a number that may be missing, a category,
a truth value, a time) and one on digits (an array of 8 x 8 and an image), both real scikit-learn models. Checked are:
no 5xx, each answer's status, type and body as described, and that wrong methods are refused.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.contract.column import column
from loopwright.data.dataset import Dataset
from loopwright.data.sources.push import push
from loopwright.evaluation.outputs import Outputs
from loopwright.features.assembly import FeatureAssembly
from loopwright.features.field import Field
from loopwright.features.request import RequestField
from loopwright.registry.golden import Golden
from loopwright.registry.signature import OutputSpec, Signature
from loopwright.serving.deploy import OnlineDeployment
from loopwright.serving.models.model_source import Target
from loopwright.serving.releases.router import Routing
from loopwright.serving.server.running import serve
from loopwright.serving.server_plan import ServerPlan

HERE = Path(__file__).resolve().parent
PEER = HERE / ".envs" / "schemathesis"
PLANS = ("basic", "family", "business")


# A deadline of the caller's that has passed is a 504, and the description lets callers send a short one.
CONFIG = """
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 504]
"""


class Model:
    """A fitted classifier, in memory, as the registry would hand it over."""

    form = "onnx"  # it takes columns

    def __init__(self, name, inputs, fields, estimator, golden) -> None:
        self.version = SimpleNamespace(id=f"{name}/1")
        self.assembly = FeatureAssembly(inputs, fields)
        classes = tuple(estimator.classes_.tolist())
        kind = "binary" if len(classes) == 2 else "multiclass"
        dtype = "str" if isinstance(classes[0], str) else "int64"
        self.signature = Signature(fields, OutputSpec(kind, classes, dtype, probabilities=True))
        self._estimator = estimator
        self._golden = golden

    def predict(self, rows) -> Outputs:
        """Answer columns, or the only array."""
        if isinstance(rows, np.ndarray):
            matrix = rows.reshape(len(rows), -1)
        else:
            columns = [self._numbers(rows[field.name], field) for field in self.signature.inputs]
            matrix = np.concatenate([values.reshape(len(values), -1) for values in columns], axis=1)
        answers, shares = self._estimator.predict(matrix), self._estimator.predict_proba(matrix)
        return Outputs(self.signature.output.kind, answers, shares, self.signature.output.classes)

    def _numbers(self, values, field) -> np.ndarray:
        if field.dtype == "category":
            known = {category: float(code) for code, category in enumerate(field.categories)}
            return np.array([known.get(value, np.nan) for value in values])
        if field.dtype == "timestamp":
            return np.asarray(values).astype("datetime64[us]").astype(np.float64)
        return np.asarray(values, dtype=np.float64)

    def golden(self) -> Golden:
        """Return one row with its answer."""
        rows = {name: np.array(values) for name, values in self._golden.to_pydict().items()}
        return Golden(self._golden, self.predict(rows))


def churn() -> Model:
    rng = np.random.default_rng(0)
    months, plan, paperless = rng.integers(0, 60, 500), rng.integers(0, 3, 500), rng.integers(0, 2, 500)
    rows = np.column_stack([months, rng.normal(30, 9, 500), plan, paperless])
    labels = np.where(rows[:, 0] + rows[:, 1] + rng.normal(0, 5, 500) > 60, "stays", "leaves")
    inputs = (
        RequestField("months", "int"),
        RequestField("spend", "float", required=False),
        RequestField("plan", "category", required=False),
        RequestField("paperless", "bool"),
    )
    fields = (
        Field("months", "int64", nullable=False),
        Field("spend", "float64"),
        Field("plan", "category", categories=PLANS),
        Field("paperless", "bool", nullable=False),
    )
    golden = pa.table({"months": [3], "spend": [20.0], "plan": ["basic"], "paperless": [True]})
    return Model("churn", inputs, fields, HistGradientBoostingClassifier(max_iter=20).fit(rows, labels), golden)


def digits() -> Model:
    rng = np.random.default_rng(1)
    rows = rng.random((300, 64))
    field = Field("pixels", "float32", shape=(8, 8), nullable=False)
    estimator = LogisticRegression(max_iter=500).fit(rows, rng.integers(0, 10, 300))
    golden = pa.table({"pixels": pa.array([rows[0].tolist()], pa.list_(pa.float32(), 64))})
    return Model("digits", (RequestField("pixels", "float", shape=(8, 8)),), (field,), estimator, golden)


MODELS = {"churn": churn, "digits": digits}


class Source:
    """Serves version 1 of each model for ever."""

    def change_counter(self) -> int:
        """Return the same number for ever."""
        return 1

    def target(self, model: str) -> Target:
        """Return version 1."""
        return Target(Routing(1), f"{model}/1")

    def load(self, version_id: str) -> Model:
        """Fit the model."""
        return MODELS[version_id.partition("/")[0]]()

    def size_bytes(self, version_id: str) -> int:  # noqa: ARG002 - the port
        """Return nothing of note."""
        return 0

    def refuse(self, model: str, version_id: str, reason: str) -> None:
        """Say why; the measurement then fails."""
        print(f"{model}: {version_id} was refused: {reason}", file=sys.stderr)


def run_server(folder: Path, port: int) -> None:
    stores = open_stores(Settings.load(folder, environ={}))
    parcels = Dataset("parcels", push(), contract=[column("id", "string"), column("kg", "float")])
    plan = ServerPlan(
        models=dict.fromkeys(MODELS, OnlineDeployment()),
        datasets=(parcels,),
        port=port,
        workers=1,
        state_file=folder / "serving.json",
    )
    serve(stores, Source(), plan)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--install-peers", action="store_true")
    parser.add_argument("--examples", type=int, default=60)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--serve", type=Path, help="only serve, with this folder for the stores")
    arguments = parser.parse_args()
    if arguments.serve:
        run_server(arguments.serve, arguments.port)
        return 0
    if arguments.install_peers:
        subprocess.run([sys.executable, "-m", "venv", str(PEER)], check=True)
        subprocess.run([str(PEER / "bin" / "pip"), "install", "-q", "schemathesis>=4"], check=True)
    if not PEER.exists():
        print("schemathesis is not installed; run with --install-peers")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__)), "--serve", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                return fuzz(Path(folder), server, arguments.examples)
            finally:
                server.terminate()


def fuzz(folder: Path, server: subprocess.Popen, examples: int) -> int:
    state = folder / "serving.json"
    while not state.exists():
        if server.poll() is not None:
            return 1
    url = f"http://127.0.0.1:{json.loads(state.read_text())['port']}"
    wait = ["--retry", "60", "--retry-delay", "1", "--retry-all-errors", "-o", "/dev/null"]
    subprocess.run(["curl", "-sf", *wait, f"{url}/readyz"], check=True)
    checks = [
        *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
        *("response_schema_conformance", "response_headers_conformance", "unsupported_method"),
    ]
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG)
    command = [
        *(
            str(PEER / "bin" / "st"),
            "--config-file",
            str(config),
            "run",
            f"{url}/openapi.json",
            "--checks",
            ",".join(checks),
        ),
        *("--mode", "all", "--max-examples", str(examples), "--phases", "examples,coverage,fuzzing"),
        *("--workers", "1", "--continue-on-failure", "--generation-database", "none", "--no-color"),
    ]
    return subprocess.run(command, cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
