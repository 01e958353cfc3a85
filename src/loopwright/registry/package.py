"""A loaded model version, ready to answer: what serving, batch scoring and `reproduce` hold.

Loading reads and verifies the bytes. Where a compiled form exists it answers, and the native form (with the library
that made it) is only loaded when somebody asks for it or a row needs it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from loopwright.core.pseudonyms import Pseudonyms
from loopwright.features.assembly import assembly_from_bytes
from loopwright.features.definition import definition_from_bytes
from loopwright.registry.compiled import BeyondCompiledForm, CompiledModel
from loopwright.registry.golden import Golden
from loopwright.registry.native import NativeModel, Predicts
from loopwright.registry.trust import require_trust
from loopwright.training.estimators.choice import load_model

if TYPE_CHECKING:
    from collections.abc import Collection

    from loopwright.core.storage.stores import Stores
    from loopwright.evaluation.outputs import Outputs
    from loopwright.features.assembly import FeatureAssembly
    from loopwright.features.training_spec import TrainingSetSpec
    from loopwright.registry.rows import Rows
    from loopwright.registry.signature import Signature
    from loopwright.registry.version import ModelVersion

Form: TypeAlias = Literal["onnx", "native"]


class LoadedModel:
    """Answer rows as one model version does.

    `predict` may be called from several threads. The compiled form runs them side by side, the native form one
    after the other.

    Attributes:
        version: The record of the version.
        assembly: The request-time half of its features.
        form: Which form answers: ``onnx`` or ``native``.

    Args:
        stores: Where the bytes lie.
        version: What to load.
        trust: Digests of code that the caller vouches for beyond those on record.
        native: Ask the native form even where a compiled one exists.

    Raises:
        UntrustedError: When the version holds code that nobody vouched for.
        StoreCorruptError: When bytes do not match their digest.
    """

    def __init__(
        self, stores: Stores, version: ModelVersion, *, trust: Collection[str] = (), native: bool = False
    ) -> None:
        require_trust(stores.facts, version.code_digests, what=f"model version {version.id}", trust=trust)
        self.version = version
        # Code, and trusted above: its digest is on record, or the caller named it.
        self.assembly: FeatureAssembly = assembly_from_bytes(stores.blobs.get(version.assembly_digest)).with_pseudonyms(
            Pseudonyms(stores.facts)
        )
        self._stores = stores
        self._lock = threading.Lock()
        self._native: NativeModel | None = None
        self._compiled: CompiledModel | None = None
        if version.compiled is not None and not native:
            graph = stores.blobs.get(version.compiled.digest)
            self._compiled = CompiledModel(graph, version.compiled, version.signature)
        else:
            self._native = self._load_native()
        self.form: Form = "native" if self._compiled is None else "onnx"

    @property
    def signature(self) -> Signature:
        """Say what the model takes and answers."""
        return self.version.signature

    def predict(self, rows: Rows) -> Outputs:
        """Answer n rows with the form that is loaded.

        Args:
            rows: What the model got in training (`Assembled.X`), or plain columns by field (`Assembled.columns`),
                which are faster for a few rows because no frame is made.

        Raises:
            InvalidRequestError: When a column is missing or of the wrong type.
        """
        if self._compiled is not None:
            try:
                return self._compiled.predict(rows)
            except BeyondCompiledForm:
                pass
        return self.predict_native(rows)

    def predict_native(self, rows: Rows) -> Outputs:
        """Answer n rows with the native form, loading it at the first call."""
        return self.native.predict(rows)

    @property
    def native(self) -> NativeModel:
        """Give the native form, loading it at the first call."""
        with self._lock:
            if self._native is None:
                self._native = self._load_native()
            return self._native

    def definition(self) -> TrainingSetSpec | None:
        """Give the definition of the training set, or None for a version from before it was kept."""
        digest = self.version.definition_digest
        return None if digest is None else definition_from_bytes(self._stores.blobs.get(digest))

    def golden(self) -> Golden:
        """Give the golden rows and the answers recorded for them."""
        return Golden.from_bytes(self._stores.blobs.get(self.version.golden_digest), self.signature.output)

    def _load_native(self) -> NativeModel:
        record = self.version.model_file
        folder = self._stores.local / "models" / record.digest
        path = self._stores.blobs.fetch(record.digest, folder / record.file_name)
        estimator = cast("Predicts", load_model(record, path, trusted=record.trusted_types))
        return NativeModel(estimator, self.signature.inputs, self.signature.output)
