from __future__ import annotations

import signal
import textwrap

import cloudpickle
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from tests.forks import Forks

from loopwright.core.errors import DeclarationError, RefusedError, StoreCorruptError, UnknownNameError
from loopwright.core.ref import Ref
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.registry.alias import Aliases
from loopwright.registry.compiled import CompiledForm
from loopwright.registry.registry import Registry
from loopwright.registry.version import ModelVersion

pytestmark = pytest.mark.usefixtures("compiled_first")
CHILD = textwrap.dedent("""
    import dataclasses, os, signal
    from pathlib import Path
    import cloudpickle
    from loopwright.core.settings import Settings
    from loopwright.core.storage.stores import open_stores
    from loopwright.registry.registry import Registry

    def main(project, what, *given):
        registry = Registry(open_stores(Settings.load(Path(project), environ={})))
        if what == "record":
            draft = registry.get("eta", 1)
            return [
                registry.record(dataclasses.replace(draft, run_id=run), reason="packaged here").version for run in given
            ]
        pickled, die_at = given

        def stage(name):
            if name == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

        registry.register(cloudpickle.loads(Path(pickled).read_bytes()), on_stage=stage)
""")


@pytest.fixture(scope="module")
def forks():
    with Forks(CHILD) as running:
        yield running


def renamed(candidate, **changes):
    return type(candidate)(**{**vars(candidate), **changes})


def test_a_run_becomes_a_version_with_all_that_is_known(stores, runs, clock):
    registry = Registry(stores)
    version = registry.register(runs.candidate(Ridge()))
    assert version.id == "eta/1"
    assert version.created_at == clock.now()
    assert version.signature.names == ("x0", "x1", "x2", "x3")
    assert version.formats == ("onnx", "skops")
    assert version.metrics == {"mae": 1.5}
    assert registry.get("eta") == version
    assert registry.get("eta/1") == version
    assert all(stores.blobs.exists(digest) for digest in version.digests)
    sources = [edge.source for edge in stores.lineage.ancestors(version.ref)]
    assert sources == [Ref("run", "run-1"), Ref("training_set", "abc")]
    record = version.record()
    assert ModelVersion.from_record(record, model="eta", version=1, run_id="run-1", created_at=clock.now()) == version
    assert isinstance(version.compiled, CompiledForm)


def test_the_same_run_again_is_the_same_version(stores, runs):
    registry = Registry(stores)
    candidate = runs.candidate(Ridge())
    first = registry.register(candidate)
    assert registry.register(candidate) == first
    second = registry.register(renamed(candidate, run_id="run-2"))
    assert second.version == 2
    assert [v.version for v in registry.versions("eta")] == [2, 1]
    assert registry.models() == ["eta"]


@pytest.mark.parametrize("stage", ["stored", "recorded"])
def test_killed_inside_register_then_again_gives_one_version(tmp_path, runs, stage, forks):
    candidate = runs.candidate(Ridge())
    pickled = tmp_path / "candidate.pickle"
    pickled.write_bytes(cloudpickle.dumps(candidate))
    assert forks.run(tmp_path, "register", pickled, stage) == -signal.SIGKILL
    stores = open_stores(Settings.load(tmp_path, environ={}))
    registry = Registry(stores)
    assert len(registry.versions("eta")) == (1 if stage == "recorded" else 0)
    version = registry.register(candidate)
    assert version.version == 1
    assert len(registry.versions("eta")) == 1
    assert registry.load(version).form == "onnx"
    stores.close()


def test_eight_processes_draw_numbers_without_gap_or_repeat(stores, tmp_path, runs, forks):
    registry = Registry(stores)
    registry.register(runs.candidate(Ridge()))
    each = 25
    # Every run is recorded by two processes: it still becomes one version.
    children = [(tmp_path, "record", *(f"run-{worker // 2}-{number}" for number in range(each))) for worker in range(8)]
    numbers = [number for drawn in forks.together(*children) for number in drawn]
    assert sorted(numbers) == sorted(2 * list(range(2, 4 * each + 2)))
    assert [v.version for v in registry.versions("eta")] == list(range(4 * each + 1, 0, -1))


def test_unknown_names_say_what_is_known(stores, runs):
    registry = Registry(stores)
    with pytest.raises(UnknownNameError, match="eta"):
        registry.get("eta")
    registry.register(runs.candidate(Ridge()))
    with pytest.raises(UnknownNameError, match="Did you mean 'eta'"):
        registry.get("etaa")
    with pytest.raises(UnknownNameError, match="eta/1"):
        registry.get("eta", 7)
    with pytest.raises(UnknownNameError, match="champion"):
        registry.get("eta", "champion")


def test_a_model_file_that_changed_is_refused(stores, runs):
    candidate = runs.candidate(Ridge())
    path = candidate.model_path / candidate.model_file.file_name
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreCorruptError):
        Registry(stores).register(candidate)
    assert Registry(stores).models() == []


def test_a_name_that_cannot_be_part_of_an_id_is_refused(runs):
    with pytest.raises(DeclarationError, match="eta/x"):
        runs.candidate(Ridge(), model="eta/x")


def test_archived_versions_go_last_and_only_without_an_alias(stores, runs):
    registry = Registry(stores)
    first = registry.register(runs.candidate(LogisticRegression(), kind="binary"))
    second = registry.register(renamed(runs.candidate(Ridge()), run_id="run-2"))
    aliases = Aliases(stores)
    aliases.move("eta", "challenger", 2, expected=None, by="anna")
    with pytest.raises(RefusedError, match="challenger"):
        registry.archive(second)
    archived = registry.archive(first)
    assert archived.archived_at is not None
    assert registry.versions("eta") == [second]
    assert registry.get("eta", 1) == archived
    assert registry.collectable() == [archived]
    assert registry.collectable(in_use=["eta/1"]) == []
    assert registry.collectable_digests() == set(first.digests) - set(second.digests)
    with pytest.raises(UnknownNameError):
        aliases.move("eta", "mine", 1, expected=None, by="anna")
    aliases.drop("eta", "challenger", expected=2, by="anna")
    registry.archive(second)
    with pytest.raises(UnknownNameError):
        registry.get("eta")
