from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
import zipfile

import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor

from loopwright.core.errors import SourceError, StoreCorruptError, UntrustedError, UsageError
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.registry.parity import compare
from loopwright.registry.registry import Registry
from loopwright.registry.transfer import export_version, import_version

pytestmark = pytest.mark.usefixtures("compiled_first")
LEAN = textwrap.dedent("""
    import sys
    from pathlib import Path
    import numpy as np
    from loopwright.core.settings import Settings
    from loopwright.core.storage.stores import open_stores
    from loopwright.registry.registry import Registry

    registry = Registry(open_stores(Settings.load(Path(sys.argv[1]), environ={})))
    loaded = registry.load(registry.get("eta"))
    loaded.predict({name: np.zeros(1) for name in loaded.signature.names})
    loaded.assembly
    heavy = [name for name in ("sklearn", "skops", "skl2onnx", "onnx") if name in sys.modules]
    print(loaded.form, heavy)
""")


@pytest.fixture
def other(tmp_path, clock):
    stores = open_stores(Settings.load(tmp_path / "other", environ={}), clock=clock)
    yield stores
    stores.close()


def test_a_compiled_model_answers_without_the_library_that_made_it(stores, runs, tmp_path):
    Registry(stores).register(runs.candidate(Ridge()))
    said = subprocess.run([sys.executable, "-c", LEAN, str(tmp_path)], capture_output=True, text=True, check=True)
    assert said.stdout.split(maxsplit=1) == ["onnx", "[]\n"]


def test_golden_rows_repeat_what_was_recorded(stores, runs):
    registry = Registry(stores)
    loaded = registry.load(registry.register(runs.candidate(LogisticRegression(), kind="binary")))
    golden = loaded.golden()
    assert len(golden) == 256
    assert compare(golden.outputs, loaded.predict(golden.rows(loaded.signature))).holds
    assert golden.outputs.classes == ("no", "yes")


def test_the_native_form_can_be_asked_for(stores, runs):
    registry = Registry(stores)
    version = registry.register(runs.candidate(Ridge()))
    native = registry.load(version, native=True)
    assert native.form == "native"
    columns = runs.columns_of(runs.scalar_fields(), rows=5)
    assert compare(native.predict(columns), registry.load(version).predict(columns)).holds


def test_threads_get_the_answers_of_their_own_rows(stores, runs):
    registry = Registry(stores)
    loaded = registry.load(registry.register(runs.candidate(KNeighborsRegressor())), native=True)
    columns = runs.columns_of(runs.scalar_fields(), rows=64)
    expected = loaded.predict(columns).values
    wrong = []

    def ask(position):
        for _ in range(5):
            row = {name: values[position : position + 1] for name, values in columns.items()}
            if loaded.predict(row).values[0] != expected[position]:
                wrong.append(position)

    threads = [threading.Thread(target=ask, args=(position,)) for position in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("which", ["compiled", "assembly", "model"])
def test_damaged_bytes_are_refused(stores, runs, which):
    registry = Registry(stores)
    version = registry.register(runs.candidate(Ridge()))
    digest = {
        "compiled": version.compiled.digest,
        "assembly": version.assembly_digest,
        "model": version.model_file.digest,
    }[which]
    path = next(path for path in stores.local.rglob(digest[2:]) if path.is_file())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(StoreCorruptError):
        registry.load(version, native=which == "model")


@pytest.mark.parametrize("name", ["eta-1.zip", "eta-1"])
def test_a_package_from_elsewhere_needs_someone_to_vouch_for_it(stores, other, runs, tmp_path, name):
    registry, there = Registry(stores), Registry(other)
    version = registry.register(runs.candidate(Ridge()))
    package = export_version(stores, version, tmp_path / name)
    imported = import_version(other, there, package)
    assert imported.id == "eta/1"
    with pytest.raises(UntrustedError, match="nobody vouched"):
        there.load(imported)
    assert there.load(imported, trust=imported.code_digests).form == "onnx"
    assert import_version(other, there, package, vouched_by="anna") == imported
    columns = runs.columns_of(runs.scalar_fields(), rows=9)
    assert (there.load(imported).predict(columns).values == registry.load(version).predict(columns).values).all()
    with pytest.raises(UsageError, match="exists"):
        export_version(stores, version, package)


def test_a_pickled_model_is_code(stores, other, runs, tmp_path):
    class Constant:
        """Predicts zero for every row."""

        def predict(self, X):
            return [0.0] * len(X)

    version = Registry(stores).register(runs.candidate(Constant(), fitted=True, trust=True))
    assert version.model_file.digest in version.code_digests
    assert Registry(stores).load(version).form == "native"
    there = Registry(other)
    imported = import_version(other, there, export_version(stores, version, tmp_path / "p.zip"))
    with pytest.raises(UntrustedError):
        there.load(imported, trust=[imported.assembly_digest])


def test_a_package_with_a_changed_file_is_refused(stores, other, runs, tmp_path):
    version = Registry(stores).register(runs.candidate(Ridge()))
    package = export_version(stores, version, tmp_path / "eta")
    (package / "files" / version.assembly_digest).write_bytes(b"other code")
    with pytest.raises(StoreCorruptError, match="not the one that was exported"):
        import_version(other, Registry(other), package, vouched_by="anna")
    assert Registry(other).models() == []


def test_what_is_no_package_is_said_so(stores, tmp_path):
    registry = Registry(stores)
    with pytest.raises(SourceError, match="no package"):
        import_version(stores, registry, tmp_path / "absent.zip")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(SourceError, match="no package"):
        import_version(stores, registry, tmp_path / "text.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"manifest\.json"):
        import_version(stores, registry, tmp_path / "empty")
    with zipfile.ZipFile(tmp_path / "newer.zip", "w") as archive:
        archive.writestr("manifest.json", json.dumps({"format": 2}))
    with pytest.raises(SourceError, match="format 2"):
        import_version(stores, registry, tmp_path / "newer.zip")
