# ruff: noqa: PLC0415 - training functions run in a process of their own
from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from loopwright.core.errors import TrainingError
from loopwright.training.code import archive_of, capture_code, project_files, unpack_archive
from loopwright.training.environment import capture_environment, differences
from loopwright.training.job import TrainingJob
from loopwright.training.reproduce import reproduce
from loopwright.training.run_store import RunStore

if TYPE_CHECKING:
    from pathlib import Path

    from loopwright.core.storage.stores import Stores
    from loopwright.training.trainer import Trainer


def test_a_run_is_reproduced_from_what_was_recorded(
    trainer: Trainer, stores: Stores, training_set: Any, tmp_path: Path
) -> None:
    helper = tmp_path / "trees.py"
    helper.write_text("TREES = 4\n")

    def forest(train: Any, params: Any) -> Any:
        from sklearn.ensemble import RandomForestClassifier
        from trees import TREES

        return RandomForestClassifier(TREES, **params)

    first = trainer.train(TrainingJob("m", forest, training_set, params={"max_depth": 3}, seed=11))
    helper.write_text("TREES = 40\n")
    again = reproduce(stores, first.run_id[:30], training_set)
    assert again.is_same_file
    assert again.differences == ()
    assert again.original_id == first.run_id
    assert again.result.run_id != first.run_id
    run = RunStore(stores).get(again.result.run_id)
    assert run.cause == f"reproduces {first.run_id}"
    assert run.params == {"max_depth": 3}
    with pytest.raises(TrainingError, match="was trained on the training set"):
        reproduce(stores, first.run_id, replace(training_set, digest="0" * 64))


def test_a_run_without_a_model_is_not_reproduced(stores: Stores, training_set: Any) -> None:
    from loopwright.training.run import RunStart

    store = RunStore(stores)
    run_id = store.create(RunStart("m"))
    with pytest.raises(TrainingError, match="has no model to reproduce"):
        reproduce(stores, run_id, training_set)


def test_differences_name_what_can_change_numbers() -> None:
    now = capture_environment(threads=2)
    then = {**now, "python": "3.1", "packages": {**now["packages"], "numpy": "1.0", "gone": "2.0"}}
    lines = differences(then, now)
    assert lines[0].startswith("python: 3.1 then")
    assert f"numpy: 1.0 then, {now['packages']['numpy']} now" in lines
    assert "gone: 2.0 then, not installed now" in lines
    assert differences(now, now) == ()


def test_installed_versions_are_what_the_packages_say() -> None:
    import importlib.metadata

    packages = capture_environment()["packages"]
    for name in ("numpy", "scikit-learn", "pandas", "sqlalchemy"):
        assert packages[name] == importlib.metadata.version(name)


def test_the_archive_depends_on_content_alone_and_unpacks(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "inner").mkdir(parents=True)
    (project / ".hidden").mkdir()
    (project / "env").mkdir()
    (project / "env" / "pyvenv.cfg").touch()
    for name in ("loop.py", "inner/more.py", ".hidden/x.py", "env/y.py", "data.csv", "loopwright.toml"):
        (project / name).write_text(f"# {name}\n")
    files = sorted(project_files(project))
    assert [path.relative_to(project).as_posix() for path in files] == ["inner/more.py", "loop.py", "loopwright.toml"]
    data = archive_of(project, files)
    (project / "loop.py").touch()
    assert archive_of(project, files) == data
    unpack_archive(data, tmp_path / "out")
    assert (tmp_path / "out" / "inner" / "more.py").read_text() == "# inner/more.py\n"


def test_the_git_state_is_captured(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def plain(train: Any) -> None: ...

    git("init", "-q")
    (tmp_path / "loop.py").write_text("a = 1\n")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    captured = capture_code(plain, tmp_path)
    assert (captured.commit, captured.is_dirty) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "loop.py").write_text("a = 2\n")
    changed = capture_code(plain, tmp_path)
    assert changed.is_dirty
    unpack_archive(changed.archive, tmp_path / "out")
    assert "+a = 2" in (tmp_path / "out" / "uncommitted.diff").read_text()
    assert "def plain" in changed.function["source"]


def test_outside_of_a_repository_there_is_no_commit(tmp_path: Path) -> None:
    captured = capture_code(print, tmp_path)
    assert (captured.commit, captured.is_dirty) == (None, None)


def test_declarations_stay_light() -> None:
    code = (
        "import sys; import loopwright.training; import loopwright.training.active; "
        "print([m for m in ('numpy', 'pandas', 'sklearn', 'optuna', 'sqlalchemy', 'psutil') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
