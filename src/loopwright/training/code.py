"""The code of a run: its function, the project's files and the state of its git repository, kept to run again.

The files go into one archive whose bytes depend on their content alone, so an unchanged project is stored once.
"""

from __future__ import annotations

import importlib.util
import inspect
import io
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle

from loopwright.core.errors import DeclarationError
from loopwright.core.hashing import digest_function, source_of
from loopwright.training.signature import extras_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import ModuleType

    from loopwright.core.storage.stores import Stores
    from loopwright.training.run import Run

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip archive can hold
MAX_FILES = 2_000
MAX_BYTES = 20_000_000
MAX_DIFF_BYTES = 1_000_000
DIFF_NAME = "uncommitted.diff"
_SKIPPED = {"__pycache__", "node_modules", "site-packages", "dist", "build"}
_KEPT_SUFFIXES = {".py", ".toml"}


@dataclass(frozen=True)
class CapturedCode:
    """The code of a run, ready to be stored.

    Attributes:
        function: Name, digest, file and source of the training function.
        commit: The git commit of the project, or None outside of a repository.
        is_dirty: Whether there were uncommitted changes; None outside of a repository.
        archive: A zip of the project's Python files, and of the uncommitted changes.
    """

    function: dict[str, Any]
    commit: str | None
    is_dirty: bool | None
    archive: bytes


def capture_code(function: Callable[..., object], project: Path, files: Iterable[Path] | None = None) -> CapturedCode:
    """Capture a training function, the project's files and its git state.

    Args:
        function: The training function.
        project: The project's folder.
        files: What to keep; by default the Python and TOML files under the project, up to 2,000 files and 20 MB.
    """
    commit, changes = git_state(project)
    chosen = sorted(files) if files is not None else sorted(project_files(project))
    return CapturedCode(
        function={
            "name": getattr(function, "__qualname__", repr(function)),
            "module": getattr(function, "__module__", ""),
            "file": _relative(_file_of(function), project),
            "digest": digest_function(function),
            "source": source_of(function)[:100_000],
        },
        commit=commit,
        is_dirty=None if changes is None else bool(changes),
        archive=archive_of(project, chosen, changes or b""),
    )


@dataclass(frozen=True)
class PreparedCode:
    """Code that a run's process can take over.

    Attributes:
        pickled: The training function, pickled by value.
        extras: Which of ``params`` and ``seed`` it takes.
        project: The folder whose modules it may import.
        function: What is recorded of the function.
        code: What is recorded of the project: ``commit``, ``is_dirty``, and the digests of the ``archive`` and of the
            pickled ``function`` in the blob store.
    """

    pickled: bytes
    extras: tuple[str, ...]
    project: Path
    function: Mapping[str, Any]
    code: Mapping[str, Any]


def prepare_code(stores: Stores, function: Callable[..., object], files: Iterable[Path] | None = None) -> PreparedCode:
    """Check, pickle and capture a training function, and keep its code in the blob store.

    Raises:
        DeclarationError: The function cannot be called as a training function, or cannot travel.
    """
    extras = extras_of(function)
    pickled = pickle_function(function)
    captured = capture_code(function, stores.settings.project, files)
    code = {
        "commit": captured.commit,
        "is_dirty": captured.is_dirty,
        "archive": stores.blobs.put(captured.archive),
        "function": stores.blobs.put(pickled),
    }
    record = {**captured.function, "extras": list(extras)}
    return PreparedCode(pickled, extras, stores.settings.project, record, code)


def restore_code(stores: Stores, run: Run, folder: Path) -> PreparedCode:
    """Bring the code of a recorded run back: its function, and its project's files unpacked into a folder.

    Raises:
        StoreCorruptError: What the blob store holds is not what was recorded.
    """
    unpack_archive(stores.blobs.get(run.start.code["archive"]), folder)
    pickled = stores.blobs.get(run.start.code["function"])
    extras = tuple(run.start.function["extras"])
    return PreparedCode(pickled, extras, folder, run.start.function, run.start.code)


def pickle_function(function: Callable[..., object]) -> bytes:
    """Pickle a function by value: its code travels, not the name of a file that may change or be missing.

    Functions of installed packages travel by name.

    Raises:
        DeclarationError: The function holds on to something that cannot travel to another process.
    """
    module = inspect.getmodule(function)
    by_value = module is not None and module.__name__ in sys.modules and not _is_installed(module)
    already = by_value and module is not None and module.__name__ in cloudpickle.list_registry_pickle_by_value()
    if by_value and not already:
        cloudpickle.register_pickle_by_value(module)
    try:
        data: bytes = cloudpickle.dumps(function, protocol=5)
    except Exception as error:
        name = getattr(function, "__name__", repr(function))
        raise DeclarationError(
            f"the function {name} cannot be sent to the training process: {type(error).__name__}: {error}.",
            hint="It uses an object of its module that cannot be copied (a connection, a lock, an open file): "
            "make that object inside the function.",
        ) from error
    finally:
        if by_value and not already:
            cloudpickle.unregister_pickle_by_value(module)
    return data


def archive_of(project: Path, files: Iterable[Path], changes: bytes = b"") -> bytes:
    """Zip files under their paths relative to the project; the same content gives the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            try:
                content = path.read_bytes()
            except OSError:
                continue  # removed meanwhile, or not readable: the run itself does not need it
            archive.writestr(zipfile.ZipInfo(_relative(path, project), EPOCH), content, zipfile.ZIP_DEFLATED)
        if changes:
            archive.writestr(zipfile.ZipInfo(DIFF_NAME, EPOCH), changes, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def unpack_archive(data: bytes, folder: Path) -> None:
    """Unpack an archive made by `archive_of` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(folder)


def project_files(project: Path) -> Iterator[Path]:
    """Yield the Python and TOML files of a project, without hidden folders and environments, within the bounds."""
    count, total = 0, 0
    for root, folders, names in os.walk(project):
        here = Path(root)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in _SKIPPED and not (here / name / "pyvenv.cfg").exists()
        )
        for name in sorted(names):
            path = here / name
            if path.suffix not in _KEPT_SUFFIXES or name.startswith("."):
                continue
            count, total = count + 1, total + path.stat().st_size
            if count > MAX_FILES or total > MAX_BYTES:
                return
            yield path


def git_state(project: Path) -> tuple[str | None, bytes | None]:
    """Return the commit and the uncommitted changes (up to 1 MB) of the repository that a folder is in.

    Both are None outside of a repository, and where there is no git.
    """
    if not any((folder / ".git").exists() for folder in (project, *project.parents)):
        return None, None
    commit = _git(project, "rev-parse", "HEAD")
    if commit is None:
        return None, None
    status = _git(project, "status", "--porcelain", "--", ".") or b""
    changes = _git(project, "diff", "HEAD", "--", ".") or b""
    listed = b"".join(b"# " + line + b"\n" for line in status.splitlines())
    return commit.decode().strip(), (listed + changes)[:MAX_DIFF_BYTES]


def _git(project: Path, *arguments: str) -> bytes | None:
    program = shutil.which("git")
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - git with fixed arguments
            [program, "-C", str(project), *arguments], capture_output=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _is_installed(module: ModuleType) -> bool:
    origin = getattr(module, "__file__", None)
    if origin is None:
        return importlib.util.find_spec(module.__name__) is not None if module.__name__ != "__main__" else False
    return "site-packages" in origin or "dist-packages" in origin or module.__name__.partition(".")[0] == "loopwright"


def _file_of(function: Callable[..., object]) -> Path:
    try:
        return Path(inspect.getsourcefile(inspect.unwrap(function)) or "")
    except TypeError:
        return Path()


def _relative(path: Path, project: Path) -> str:
    try:
        return path.resolve().relative_to(project.resolve()).as_posix()
    except ValueError:
        return path.name
