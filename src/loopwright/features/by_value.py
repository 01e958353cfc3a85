"""Pickle objects with the functions of the project, and what these call there, by value.

Such a pickle loads where the project's files are absent or have changed since. It is code: load it only if its digest
is on record in this workspace, or its origin is trusted.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cloudpickle
import numpy as np

from loopwright.data.sources.frame import FrameSource
from loopwright.data.sources.push import push

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType


class _Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]
    """Leaves out the rows of tables in memory: the definition is kept, not the data."""

    def reducer_override(self, obj: object) -> object:
        if isinstance(obj, FrameSource):
            return push, ()
        return super().reducer_override(obj)


def dump_by_value(value: object, functions: Sequence[Callable[..., object]]) -> bytes:
    """Return the pickle of a value that holds these functions; a source in memory becomes one that is pushed to."""
    registered: list[ModuleType] = []
    try:
        for module in _project_modules(functions):
            if module.__name__ not in cloudpickle.list_registry_pickle_by_value():
                cloudpickle.register_pickle_by_value(module)
                registered.append(module)
        buffer = io.BytesIO()
        _Pickler(buffer).dump(value)
        return buffer.getvalue()
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def _project_modules(functions: Sequence[Callable[..., object]]) -> list[ModuleType]:
    """Return the modules that lie in the functions' folders, or below, and belong to no installed package."""
    folders: set[Path] = set()
    own: set[str] = set()
    for function in functions:
        module = sys.modules.get(getattr(function, "__module__", "") or "")
        if module is not None and _is_project_file(module):
            own.add(module.__name__)
            folders.add(Path(cast("str", module.__file__)).resolve().parent)
    return [
        module
        for name, module in list(sys.modules.items())
        if name in own or (folders and _is_project_file(module) and not folders.isdisjoint(_folders_above(module)))
    ]


def _folders_above(module: ModuleType) -> Sequence[Path]:
    return Path(cast("str", module.__file__)).resolve().parents


def _is_project_file(module: ModuleType) -> bool:
    path = getattr(module, "__file__", None)
    if not isinstance(path, str) or module.__name__ == "__main__" or module.__name__.partition(".")[0] == "loopwright":
        return False
    resolved = Path(path).resolve()
    installed = {"site-packages", "dist-packages"} & set(resolved.parts)
    return (
        not installed
        and not resolved.is_relative_to(Path(np.__file__).resolve().parent.parent)
        and not _is_standard(resolved)
    )


def _is_standard(path: Path) -> bool:
    return path.is_relative_to(Path(sys.modules["os"].__file__ or "/nowhere").resolve().parent)
