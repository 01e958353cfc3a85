"""PyTorch modules are exported, compiled and served without the code that made them. Needs the extra ``torch``."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from loopwright.core.errors import DeclarationError, UntrustedError
from loopwright.features.columns import model_input
from loopwright.features.field import Field
from loopwright.registry.given import given_candidate
from loopwright.registry.parity import compare
from loopwright.registry.registry import Registry
from loopwright.training.estimators.choice import askable, load_model, save_model
from loopwright.training.estimators.sklearn_skops import UnsavableError

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)", exc_type=ImportError)

NUMBERS = tuple(Field(f"x{place}", "float64", nullable=False) for place in range(4))
IMAGE = (Field("pixels", "float32", shape=(3, 8, 8), nullable=False),)


class Net(torch.nn.Module):
    """A small network; its class is gone when the file is loaded."""

    def __init__(self, out, classes=None):
        super().__init__()
        torch.manual_seed(0)
        self.body = torch.nn.Sequential(
            torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(16, out)
        )
        if classes is not None:
            self.classes_ = classes

    def forward(self, rows):
        return self.body(rows)


class Convolution(torch.nn.Module):
    """Images in, classes out."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convolve = torch.nn.Conv2d(3, 4, 3)
        self.end = torch.nn.Linear(4 * 6 * 6, 3)
        self.classes_ = ["coat", "bag", "shoe"]

    def forward(self, images):
        return self.end(torch.relu(self.convolve(images)).flatten(1))


class Fixed(torch.nn.Module):
    """Takes two rows and no other number of rows."""

    def forward(self, rows):
        return rows.reshape(2, 4).sum(dim=1)


class Two(torch.nn.Module):
    """Answers two named outputs."""

    def forward(self, rows):
        return {"sum": rows.sum(dim=1), "scaled": rows * 2}


@pytest.mark.parametrize(
    ("module", "kind", "classes"),
    [
        (lambda: Net(1), "regression", None),
        (lambda: Net(1, [0, 1]), "binary", (0, 1)),
        (lambda: Net(2, ["no", "yes"]), "binary", ("no", "yes")),
        (lambda: Net(3, [1, 2, 3]), "multiclass", (1, 2, 3)),
        (lambda: Net(1).double(), "regression", None),
    ],
)
def test_a_module_is_compiled_and_answers_as_it_did(stores, runs, tmp_path, module, kind, classes):
    pytest.importorskip("onnxscript")
    columns = runs.columns_of(NUMBERS)
    net = module()
    registry = Registry(stores)
    version = registry.register(given_candidate("net", net, columns, tmp_path))
    assert version.not_compiled_because is None
    assert (version.signature.output.kind, version.signature.output.classes) == (kind, classes)
    assert version.choice.small == "onnx"
    loaded = registry.load(version)
    x = model_input(columns, NUMBERS)
    assert compare(loaded.predict_native(x), loaded.predict(columns)).holds
    with torch.inference_mode():
        said = net(torch.from_numpy(x.to_numpy(dtype=np.float64).copy()).to(next(net.parameters()).dtype)).numpy()
    if kind == "regression":
        assert loaded.predict(columns).values == pytest.approx(said[:, 0], rel=1e-5, abs=1e-6)
    else:
        assert loaded.predict(columns).probabilities.sum(axis=1) == pytest.approx(np.ones(len(x)))
        if said.shape[1] > 1:
            assert (loaded.predict(columns).values == np.asarray(classes)[said.argmax(axis=1)]).all()
    for count in (1, 3):
        assert len(loaded.predict({name: values[:count] for name, values in columns.items()})) == count


def test_images_are_arrays(stores, runs, tmp_path):
    pytest.importorskip("onnxscript")
    columns = runs.columns_of(IMAGE, rows=20)
    registry = Registry(stores)
    version = registry.register(given_candidate("clothes", Convolution(), columns, tmp_path))
    assert version.not_compiled_because is None
    loaded = registry.load(version)
    x = model_input(columns, IMAGE)
    assert compare(loaded.predict_native(x), loaded.predict(columns)).holds
    assert set(loaded.predict(x[:1]).values) <= {"coat", "bag", "shoe"}


def test_a_program_is_loaded_without_the_class_and_by_trust_only(runs, tmp_path):
    columns = runs.columns_of(NUMBERS)
    x = model_input(columns, NUMBERS)
    model = askable(Net(1), x[:1])
    record = save_model(model, tmp_path)
    assert (record.format, record.trusted_types) == ("torch", ("torch.export",))
    with pytest.raises(UntrustedError, match="exported PyTorch program"):
        load_model(record, tmp_path)
    np.save(tmp_path / "rows.npy", x.to_numpy())
    code = (
        "import json, sys, numpy as np, pathlib;"
        "from loopwright.training.estimators.choice import load_model;"
        "from loopwright.training.estimators.model_file import ModelFile;"
        "record, folder = ModelFile.from_json(json.loads(sys.argv[1])), pathlib.Path(sys.argv[2]);"
        "model = load_model(record, folder, trusted=record.trusted_types);"
        "print(json.dumps(model.predict(np.load(folder / 'rows.npy')).tolist()))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, json.dumps(record.to_json()), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == pytest.approx(model.predict(x).tolist(), rel=1e-6)


def test_equal_modules_have_equal_digests(runs, tmp_path):
    x = model_input(runs.columns_of(NUMBERS), NUMBERS)
    digests = set()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        digests.add(save_model(askable(Net(1), x), tmp_path / name).digest)
    assert len(digests) == 1


def test_a_module_of_one_batch_size_cannot_be_saved(runs, tmp_path):
    model = askable(Fixed(), model_input(runs.columns_of(NUMBERS), NUMBERS)[:2])
    with pytest.raises(UnsavableError, match="cannot be exported"):
        save_model(model, tmp_path)


def test_named_outputs_run_in_pytorch(stores, runs, tmp_path):
    columns = runs.columns_of(NUMBERS)
    registry = Registry(stores)
    version = registry.register(given_candidate("two", Two(), columns, tmp_path))
    assert "several named outputs" in version.not_compiled_because
    loaded = registry.load(version)
    assert loaded.form == "native"
    assert loaded.predict(model_input(columns, NUMBERS)).named["scaled"].shape == (400, 4)


def test_without_classes_several_numbers_per_row_are_refused(stores, runs, tmp_path):
    with pytest.raises(DeclarationError, match="one model, one output"):
        Registry(stores).register(given_candidate("net", Net(3), runs.columns_of(NUMBERS), tmp_path))


def test_a_category_is_its_code_and_a_text_is_refused(runs, tmp_path):
    fields = (Field("city", "category", categories=("Bergen", "Oslo")), NUMBERS[0])
    columns = runs.columns_of(fields)
    model = askable(torch.nn.Linear(2, 1), model_input(columns, fields)[:2])
    expected = model.predict(np.stack([columns["city"], columns["x0"]], axis=1))
    assert model.predict(model_input(columns, fields)) == pytest.approx(expected)
    texts = (Field("colour", "string"), NUMBERS[0])
    with pytest.raises(DeclarationError, match="'colour' holds"):
        model.predict(model_input(runs.columns_of(texts), texts))
