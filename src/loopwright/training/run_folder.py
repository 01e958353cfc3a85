"""The folder of one run on this machine: the job, its log, its spool, its result, and what became of it.

Written by the parent and by the run's own process, each its own files, each file whole or absent. The metadata store is
filled from here, so a run whose store was away is not lost: it waits here.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

RUNS_NAME = "runs"


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run's files.

    Attributes:
        path: The folder; its name is the run's id.
    """

    path: Path

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.path.name

    @property
    def job(self) -> Path:
        """What the run's process has to do (JSON)."""
        return self.path / "job.json"

    @property
    def function(self) -> Path:
        """The training function, pickled by value."""
        return self.path / "function.cloudpickle"

    @property
    def objective(self) -> Path:
        """The objective of a search, pickled by value."""
        return self.path / "objective.cloudpickle"

    @property
    def result(self) -> Path:
        """What the run's process reports at its end (JSON)."""
        return self.path / "result.json"

    @property
    def model(self) -> Path:
        """The folder that holds the model file."""
        return self.path / "model"

    @property
    def log(self) -> Path:
        """Everything that the run's process printed."""
        return self.path / "log.txt"

    @property
    def start(self) -> Path:
        """The start of the run as recorded (JSON)."""
        return self.path / "start.json"

    @property
    def finish(self) -> Path:
        """The end of the run as recorded (JSON)."""
        return self.path / "finish.json"

    @property
    def synced(self) -> Path:
        """Exists once everything in the folder is in the metadata store."""
        return self.path / "synced"

    @property
    def stop(self) -> Path:
        """Exists once somebody asked the run to stop."""
        return self.path / "stop"


def folders_in(local: Path) -> Iterator[RunFolder]:
    """Yield the run folders of a project on this machine, oldest first."""
    parent = local / RUNS_NAME
    if parent.is_dir():
        for path in sorted(parent.iterdir()):
            if path.is_dir():
                yield RunFolder(path)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file that is whole or absent, whenever the writer is killed."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, default=str)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON file written by `write_json`; None where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
