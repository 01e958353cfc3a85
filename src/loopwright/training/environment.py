"""What a run ran on: interpreter, platform, processor, memory, packages, threads.

Versions of installed packages are read from the names of their metadata folders, which takes milliseconds where asking
each package takes a tenth of a second; the answer is kept for the life of the process.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping

_DIST_INFO = re.compile(r"^(?P<name>.+?)-(?P<version>[^-]+)\.(?:dist|egg)-info$")
DECISIVE = ("python", "implementation", "platform", "machine", "cpu", "threads")
"""What, beside packages, can change a model's numbers."""


def capture_environment(*, threads: int | None = None) -> dict[str, Any]:
    """Return the environment of this process as JSON values; ``threads`` is the bound given to a run."""
    return {**_fixed(), "threads": threads, "packages": dict(installed_packages())}


@functools.cache
def _fixed() -> Mapping[str, Any]:
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "executable_version": sys.version.split("\n", maxsplit=1)[0],
    }


@functools.cache
def installed_packages() -> Mapping[str, str]:
    """Return the versions of all installed distributions, by normalised name, sorted.

    >>> "numpy" in installed_packages()
    True
    """
    found: dict[str, str] = {}
    for entry in reversed(sys.path):  # the first entry of the path wins, as it does for imports
        folder = Path(entry)
        if not folder.is_dir():
            continue
        for path in folder.iterdir():
            match = _DIST_INFO.match(path.name)
            if match is not None:
                found[re.sub(r"[-_.]+", "-", match["name"]).lower()] = match["version"]
    return dict(sorted(found.items()))


def imported_versions() -> dict[str, str]:
    """Return the versions that the top-level modules imported so far state of themselves."""
    versions = {}
    for name, module in sorted(sys.modules.items()):
        version = getattr(module, "__version__", None)
        if "." not in name and not name.startswith("_") and isinstance(version, str):
            versions[name] = version
    return versions


def differences(recorded: Mapping[str, Any], present: Mapping[str, Any]) -> tuple[str, ...]:
    """Say what differs between two environments and can change a model's numbers.

    Every installed package counts: which of them a model leans on is not known.

    >>> differences({"python": "3.11.7", "packages": {}}, {"python": "3.12.1", "packages": {}})
    ('python: 3.11.7 then, 3.12.1 now',)
    """
    lines = [
        f"{name}: {recorded.get(name)} then, {present.get(name)} now"
        for name in DECISIVE
        if recorded.get(name) != present.get(name)
    ]
    then, now = recorded.get("packages", {}), present.get("packages", {})
    lines += [
        f"{name}: {then.get(name, 'not installed')} then, {now.get(name, 'not installed')} now"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
    return tuple(lines)


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
