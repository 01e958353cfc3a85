"""Runs side by side: where their parameters, code, data and environment differ, and their metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopwright.training.run import Run


@dataclass(frozen=True)
class RunComparison:
    """Compare runs.

    Attributes:
        run_ids: The compared runs, in the order given.
        differences: What is not the same in all of them: a name such as ``params.max_depth`` and one value per run,
            None where a run has no such thing.
        metrics: Every metric that any of them has, one value per run.
    """

    run_ids: tuple[str, ...]
    differences: Mapping[str, tuple[Any, ...]]
    metrics: Mapping[str, tuple[float | None, ...]]


def compare_runs(runs: Sequence[Run]) -> RunComparison:
    """Put runs side by side."""
    facts = [_facts(run) for run in runs]
    names = sorted({name for entry in facts for name in entry})
    rows = {name: tuple(entry.get(name) for entry in facts) for name in names}
    differences = {name: values for name, values in rows.items() if any(value != values[0] for value in values)}
    metric_names = sorted({name for run in runs for name in run.metrics})
    metrics = {name: tuple(run.metrics.get(name) for run in runs) for name in metric_names}
    return RunComparison(tuple(run.id for run in runs), differences, metrics)


def _facts(run: Run) -> dict[str, Any]:
    environment = run.start.environment
    packages = environment.get("packages", {})
    return {
        **{f"params.{name}": value for name, value in run.params.items()},
        **{f"estimator.{name}": value for name, value in run.estimator_params.items()},
        **{f"packages.{name}": value for name, value in packages.items()},
        **{f"environment.{name}": value for name, value in environment.items() if name != "packages"},
        **{f"snapshots.{name}": value for name, value in run.start.snapshots.items()},
        "training_set": run.start.training_set,
        "seed": run.seed,
        "code.function": run.start.function.get("digest"),
        "code.commit": run.start.code.get("commit"),
        "status": run.status,
    }
