"""scikit-learn estimators and pipelines in the skops format: a zip of arrays and a JSON schema, nothing executable.

Importing skops costs over a second, so it is imported when a model is saved or loaded, not before. The archive is
rewritten in a canonical form (ordinal ids, fixed times), so that equal models have equal digests.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import sys
import warnings
import zipfile
from typing import TYPE_CHECKING

from loopwright.core.errors import TrainingError, UntrustedError
from loopwright.core.hashing import digest_bytes
from loopwright.training.estimators.model_file import ModelFile, class_name

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

SAFE_CLASS_PACKAGES = ("numpy", "scipy", "sklearn", "xgboost", "lightgbm")
"""Packages whose classes are loaded without being asked for; their plain functions are not."""
SAFE_CONTAINERS = ("collections.OrderedDict", "collections.defaultdict")
SAFE_FUNCTION_MODULES = (
    "sklearn.feature_selection",
    "sklearn.gaussian_process",
    "sklearn.metrics",
    "sklearn.preprocessing",
)
"""Modules whose functions are scoring and kernel functions that estimators take as parameters."""
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip archive can hold


class UnsavableError(TrainingError):
    """A fitted model cannot be written in the format that its class asks for."""


class SkopsFormat:
    """Save what scikit-learn and skops know: estimators, pipelines, and objects built of them."""

    name = "skops"

    def can_save(self, model: object) -> bool:
        """Say whether the model is an estimator in scikit-learn's sense (``get_params`` and ``predict``)."""
        return hasattr(model, "get_params") and hasattr(model, "predict")

    def save(self, model: object, folder: Path) -> ModelFile:
        """Write ``model.skops``; types that skops or this file do not already trust are recorded beside it.

        Raises:
            UnsavableError: Something in the model cannot be kept by skops, or lives in a module that a fresh process
                could not import.
        """
        import skops.io  # noqa: PLC0415 - costs over a second

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # skops passes on deprecations of the estimators' own attributes
                raw = skops.io.dumps(model)
        except Exception as error:
            raise UnsavableError(
                f"{class_name(model)} cannot be saved as a skops file: {type(error).__name__}: {error}.",
                hint="Return a plain scikit-learn estimator, or declare the model with trust_pickle=True.",
            ) from error
        data, schema = canonical_archive(raw)
        asked: list[str] = []
        if not _is_plain(schema, {}):  # skops' own audit reads the whole archive again: only where there is something
            asked = sorted(name for name in skops.io.get_untrusted_types(data=data) if not is_safe(name))
        lost = [name for name in asked if not _is_importable(name)]
        if lost:
            raise UnsavableError(
                f"{class_name(model)} uses {', '.join(lost[:3])}, defined where a serving process could not import it.",
                hint="Move it into an installed package, or declare the model with trust_pickle=True.",
            )
        path = folder / "model.skops"
        path.write_bytes(data)
        return ModelFile(self.name, path.name, digest_bytes(data), len(data), class_name(model), tuple(asked))

    def load(self, path: Path, record: ModelFile, trusted: Collection[str]) -> object:  # noqa: ARG002
        """Read a skops file back; see `EstimatorFormat.load`."""
        import skops.io  # noqa: PLC0415 - costs over a second

        asked = skops.io.get_untrusted_types(file=path)
        refused = sorted(name for name in asked if name not in trusted and not is_safe(name))
        if refused:
            raise UntrustedError(
                f"the model file {path.name} asks for types that are not trusted: {', '.join(refused[:5])}.",
                hint=f"If you know where it comes from, load it with trust={refused[:5]!r}.",
            )
        return skops.io.load(path, trusted=asked)


def is_safe(name: str) -> bool:
    """Say whether a type named in a skops file is loaded without being on a trust list.

    Safe are classes of numpy, scipy, scikit-learn, XGBoost and LightGBM, NumPy's ufuncs, and scikit-learn's scoring,
    kernel and preprocessing functions. Other functions of these packages are not: some of them run code or read files.

    Trees are among the safe classes: they hold no code. But scikit-learn follows the indices in a tree without checking
    their bounds (scikit-learn pull request 34558), so a file made to do harm can crash the process that predicts with
    it. skops therefore asks for trees by name; here the whole file of a model from elsewhere has to be vouched for.

    >>> is_safe("sklearn.tree._tree.Tree"), is_safe("builtins.eval"), is_safe("numpy.testing.runstring")
    (True, False, False)
    """
    if name in SAFE_CONTAINERS:
        return True
    module_name, _, attribute = name.rpartition(".")
    if module_name.split(".", 1)[0] not in SAFE_CLASS_PACKAGES or module_name.startswith("numpy.testing"):
        return False
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError):
        return False
    if isinstance(found, type) or type(found).__name__ == "ufunc":
        return True
    return module_name.startswith(SAFE_FUNCTION_MODULES)


def canonical_archive(data: bytes) -> tuple[bytes, object]:
    """Rewrite a skops archive so that its bytes depend on the model alone; returns it with its schema.

    skops names members and objects by memory address or random id and stamps them with the time; here both become
    ordinals in order of appearance and the time is fixed. Members are deflated: a forest shrinks about eightfold.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        schema = json.loads(source.read("schema.json"))
        files: dict[str, str] = {}
        _renumber(schema, {}, files)
        target_buffer = io.BytesIO()
        with zipfile.ZipFile(target_buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
            for old, new in files.items():
                target.writestr(zipfile.ZipInfo(new, EPOCH), source.read(old), zipfile.ZIP_DEFLATED, 1)
            text = json.dumps(schema, separators=(",", ":"))
            target.writestr(zipfile.ZipInfo("schema.json", EPOCH), text, zipfile.ZIP_DEFLATED, 1)
    return target_buffer.getvalue(), schema


def _renumber(node: object, ids: dict[int, int], files: dict[str, str]) -> None:
    if isinstance(node, list):
        for child in node:
            _renumber(child, ids, files)
        return
    if not isinstance(node, dict):
        return
    if isinstance(node.get("__id__"), int):
        node["__id__"] = ids.setdefault(node["__id__"], len(ids) + 1)
    if isinstance(node.get("file"), str) and "__loader__" in node:
        suffix = node["file"].rpartition(".")[2]
        node["file"] = files.setdefault(node["file"], f"{len(files) + 1}.{suffix}")
    for child in node.values():
        _renumber(child, ids, files)


def _is_plain(node: object, known: dict[str, bool]) -> bool:
    """Say whether a schema holds nothing but plain containers, numbers, text, arrays and safe classes."""
    if isinstance(node, list):
        return all(_is_plain(child, known) for child in node)
    if not isinstance(node, dict):
        return True
    loader = node.get("__loader__")
    if isinstance(loader, str):
        if loader not in _PLAIN_LOADERS:
            return False
        name = f"{node.get('__module__')}.{node.get('__class__')}"
        if name not in _PLAIN_NAMES and not known.setdefault(name, is_safe(name)):
            return False
    return all(_is_plain(child, known) for child in node.values())


_PLAIN_LOADERS = {
    *("DictNode", "JsonNode", "ListNode", "NdArrayNode", "ObjectNode", "TreeNode", "TupleNode", "TypeNode"),
    *("LossNode", "RandomGeneratorNode", "RandomStateNode"),
}
_PLAIN_NAMES = {f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "NoneType", "str", "tuple")}


def _is_importable(name: str) -> bool:
    package = name.partition(".")[0]
    if package == "__main__":
        return False  # the run's own process: nothing of it is there when a server loads the file
    if package in sys.stdlib_module_names:
        return True
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return False
    return spec is not None and any(name in (spec.origin or "") for name in ("site-packages", "dist-packages"))
