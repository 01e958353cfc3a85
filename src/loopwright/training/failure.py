"""Why a run did not end in a model: one error with the broken rule, the values and the next step."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import psutil

from loopwright.core import errors
from loopwright.core.durations import format_duration, parse_duration
from loopwright.core.sizes import format_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.training.process import Limits, ProcessOutcome
    from loopwright.training.run_folder import RunFolder

NEARLY_ALL = 0.9
"""Share of the machine's memory at which an unexplained kill is called a lack of memory."""


def failure_of(
    model: str, limits: Limits, folder: RunFolder, outcome: ProcessOutcome, report: Mapping[str, Any], peak_bytes: int
) -> errors.LoopwrightError:
    """Return the error for a run that ended without a model."""
    see = f"What it printed: loopwright runs log {folder.run_id}"
    match outcome.ending:
        case "out_of_memory":
            return errors.TrainingOutOfMemoryError(
                f"training {model!r} used {format_size(outcome.peak_memory_bytes)} of memory; its bound is "
                f"{format_size(limits.memory_bytes or 0)}.",
                hint=f"Use fewer rows or columns, or raise [training] memory in loopwright.toml. {see}",
            )
        case "timed_out":
            bound = format_duration(parse_duration(limits.seconds or 0.0))
            return errors.TrainingTimedOutError(
                f"training {model!r} ran for {outcome.seconds:.1f} s; its bound is {bound}.",
                hint=f"Train on less, or raise [training] time in loopwright.toml. {see}",
            )
        case "stopped":
            return errors.TrainingError(f"training {model!r} was stopped on request.", hint=see)
    if report:
        kind = getattr(errors, str(report.get("kind")), errors.TrainingError)
        hint = f"{report['hint']} {see}" if report.get("hint") else see
        if kind in _PLAIN:
            found: errors.LoopwrightError = kind(report["message"], hint=hint)
            return found
        return errors.TrainingError(report["message"], hint=hint)
    return _unexplained(model, folder, outcome, peak_bytes, see)


def _unexplained(
    model: str, folder: RunFolder, outcome: ProcessOutcome, peak_bytes: int, see: str
) -> errors.LoopwrightError:
    last = _last_line(folder)
    said = f" Its last words: {last}" if last else ""
    if outcome.exit_code >= 0:
        return errors.TrainingError(
            f"the process that trained {model!r} ended with exit code {outcome.exit_code} and no result.{said}",
            hint=see,
        )
    name = signal.Signals(-outcome.exit_code).name
    if name == "SIGKILL" and peak_bytes > NEARLY_ALL * psutil.virtual_memory().total:
        return errors.TrainingOutOfMemoryError(
            f"the system killed the training of {model!r} at {format_size(peak_bytes)} of memory.",
            hint=f"Use fewer rows or columns. {see}",
        )
    return errors.TrainingError(
        f"the process that trained {model!r} was killed by {name} after {outcome.seconds:.1f} s at "
        f"{format_size(peak_bytes)} of memory.{said}",
        hint=see,
    )


def _last_line(folder: RunFolder) -> str:
    try:
        with folder.log.open("rb") as file:
            file.seek(max(0, folder.log.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1][:300] if lines else ""


_PLAIN = frozenset(
    {
        errors.DeclarationError,
        errors.FeatureError,
        errors.TrainingEmptyError,
        errors.TrainingError,
        errors.TrainingOutOfMemoryError,
        errors.TrainingRaisedError,
        errors.UntrustedError,
    }
)
