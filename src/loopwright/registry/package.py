"""A loaded model version, ready to answer: what serving, batch scoring and `reproduce` hold.

Loading reads and verifies the bytes. The form that answers few rows is the one measured fastest at registration, as a
rule the compiled one; the native form (with the library that made it) is only loaded when somebody asks for it or a
row needs it. Where another form was measured faster for many rows, the first such call begins to load it beside the
answering, and it answers from when it is there; a process without its library goes on as before. Both forms passed
the parity gate. `prepare` loads it at once.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, cast

from loopwright.core.pseudonyms import Pseudonyms
from loopwright.features.assembly import assembly_from_bytes
from loopwright.features.definition import definition_from_bytes
from loopwright.registry.compiled import BeyondCompiledForm, CompiledModel
from loopwright.registry.form_choice import FormChoice
from loopwright.registry.golden import Golden
from loopwright.registry.library_form import LibraryModel
from loopwright.registry.native import NativeModel, Predicts
from loopwright.registry.rows import count_rows
from loopwright.registry.trust import require_trust
from loopwright.training.estimators.choice import load_model

if TYPE_CHECKING:
    from collections.abc import Collection

    from loopwright.core.storage.stores import Stores
    from loopwright.evaluation.outputs import Outputs
    from loopwright.features.assembly import FeatureAssembly
    from loopwright.features.training_spec import TrainingSetSpec
    from loopwright.registry.form_choice import Form
    from loopwright.registry.parity import Answers
    from loopwright.registry.rows import Rows
    from loopwright.registry.signature import Signature
    from loopwright.registry.version import ModelVersion


class LoadedModel:
    """Answer rows as one model version does.

    `predict` may be called from several threads. The compiled form runs them side by side, the native form one
    after the other.

    Attributes:
        version: The record of the version.
        assembly: The request-time half of its features.
        form: Which form answers few rows: ``onnx``, ``library`` or ``native``.

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
        choice = version.choice or FormChoice(*("native" if version.compiled is None else "onnx",) * 2)
        self._choice = FormChoice("native", "native") if native else choice
        self.form: Form = self._choice.small
        self._large: Answers | None = None
        self._large_asked = False
        self._small = self._answering(self.form)
        self._large_from_rows = self._choice.large_from_rows or sys.maxsize

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
        small = self._small
        if self._large_from_rows != sys.maxsize and count_rows(rows) >= self._large_from_rows:
            if self._large is not None:
                small = self._large
            elif not self._large_asked:
                self._large_asked = True
                threading.Thread(target=self._prepare_quietly, name=f"load {self.version.id}", daemon=True).start()
        try:
            return small.predict(rows)
        except BeyondCompiledForm:
            return self.predict_native(rows)

    def prepare(self) -> None:
        """Load the form that answers many rows, if that is another one: a batch job's first call then has it.

        Raises:
            MissingExtraError: When its library is not installed.
        """
        if self._choice.large != self._choice.small:
            self._large = self._answering(self._choice.large)

    def _prepare_quietly(self) -> None:
        # Without its library, or its file, the form that answers now answers these rows too.
        with contextlib.suppress(Exception):
            self.prepare()

    def _answering(self, form: Form) -> Answers:
        if form == "onnx" and self.version.compiled is not None:
            graph = self._stores.blobs.get(self.version.compiled.digest)
            return CompiledModel(graph, self.version.compiled, self.signature)
        return LibraryModel(self.native.estimator, self.signature) if form == "library" else self.native

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
