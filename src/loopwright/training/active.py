"""What a training function may say about itself while it runs: metrics, parameters, artifacts, progress.

Inside a run's own process every call appends one line to a spool file in the run's folder; the process that started the
run reads it and writes the facts. So a training never waits for a database, and never fails because of one. Outside of
a run the calls do nothing.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SPOOL_NAME = "spool.jsonl"
ARTIFACTS_NAME = "artifacts"
_logger = logging.getLogger(__name__)


class Spool:
    """Append records to a run's spool file; a record that cannot be written is dropped and counted.

    Each record is one line written by one system call in append mode, so threads do not mix lines and a kill leaves
    at most one broken last line, which readers skip. Times are seconds since the spool was opened: the reader adds
    the moment at which the run started.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dropped = 0
        self.trial: list[dict[str, Any]] | None = None
        self._opened = time.monotonic()
        try:
            self._file = os.open(folder / SPOOL_NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError:
            _logger.warning("the spool in %s cannot be opened: nothing that is logged will be kept", folder)
            self._file = -1

    def write(self, kind: str, **fields: object) -> None:
        """Append one record; never raises."""
        try:
            record = {"kind": kind, "elapsed_s": round(time.monotonic() - self._opened, 6), **fields}
            if self.trial is not None and kind == "metric":
                self.trial.append({"name": fields["name"], "value": fields["value"], "step": fields["step"]})
                return
            line = (json.dumps(record, default=str) + "\n").encode()
            if os.write(self._file, line) != len(line):
                raise OSError("the disk is full")  # noqa: TRY301 - handled as every other failure to write
        except Exception:
            self.dropped += 1
            _logger.debug("a %s record was dropped", kind, exc_info=True)


_active: Spool | None = None


def activate(spool: Spool | None) -> None:
    """Make a spool the one that the functions below write to, or none."""
    global _active  # noqa: PLW0603 - one run per process; the user's code has no handle to pass around
    _active = spool


def log_metric(name: str, value: float, step: int | None = None) -> None:
    """Record a number, or one point of a curve; never raises, and does nothing outside of a run.

    Args:
        name: The metric's name, such as ``"val_loss"``.
        value: Anything that ``float`` takes; not-a-number and infinities are kept.
        step: Position on the curve (epoch, iteration); None for a single value.

    >>> log_metric("loss", 0.25, step=1)
    """
    try:
        _write("metric", name=str(name), value=float(value), step=None if step is None else int(step))
    except Exception:  # noqa: BLE001 - a tracker that fails never kills a training
        _logger.warning("log_metric(%r, %r) was ignored: the value is no number", name, value)


def log_param(name: str, value: object) -> None:
    """Record a parameter that the function chose itself; values that are no JSON are kept as text."""
    _write("param", name=str(name), value=value)


def log_artifact(content: str | Path | bytes, name: str | None = None) -> None:
    """Keep a file with the run: a path, which is copied now, or bytes with a name.

    >>> log_artifact(b"...", "confusion.png")
    """
    spool = _active
    if spool is None:
        _logger.debug("log_artifact outside of a run does nothing")
        return
    try:
        label = name or ("artifact" if isinstance(content, bytes) else Path(content).name)
        file_name = f"{len(list(_artifacts(spool).iterdir())):04d}-{re.sub(r'[^A-Za-z0-9._-]', '_', label)[-80:]}"
        target = _artifacts(spool) / file_name
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            shutil.copyfile(content, target)
        spool.write("artifact", name=label, file=file_name)
    except Exception:
        spool.dropped += 1
        _logger.warning("log_artifact(%r) was ignored: it cannot be copied", name or content, exc_info=True)


def set_progress(fraction: float, text: str = "") -> None:
    """Say how far the training is, from 0 to 1, with a word about what it does now."""
    try:
        _write("progress", fraction=min(1.0, max(0.0, float(fraction))), text=str(text))
    except Exception:  # noqa: BLE001 - a tracker that fails never kills a training
        _logger.debug("set_progress(%r) was ignored", fraction)


def read_spool(folder: Path, offset: int = 0) -> tuple[list[Mapping[str, Any]], int]:
    """Read the complete records after a byte offset; returns them with the offset to go on from.

    A last line without its end is left for the next call; a line that is no JSON is skipped.
    """
    path = folder / SPOOL_NAME
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except OSError:
        return [], offset
    end = data.rfind(b"\n") + 1
    records: list[Mapping[str, Any]] = []
    position = offset
    for line in data[:end].splitlines(keepends=True):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict) and "kind" in record:
            records.append({**record, "sequence": position})
        position += len(line)
    return records, offset + end


def _write(kind: str, **fields: object) -> None:
    if _active is None:
        _logger.debug("log_%s outside of a run does nothing", kind)
        return
    _active.write(kind, **fields)


def _artifacts(spool: Spool) -> Path:
    folder = spool.folder / ARTIFACTS_NAME
    folder.mkdir(exist_ok=True)
    return folder
