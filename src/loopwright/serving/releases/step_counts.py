"""What was counted of a release's step so far, kept on this machine so that a look reads only what is new.

It is a cache, never the truth: it says up to which version of the table it counts and what that commit was, and where
any of that is not so (another table, an erasure, a kill between two of its files), it is thrown away and the step is
counted anew.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np

from loopwright.core.statistics.histogram import LatencyHistogram
from loopwright.core.storage.hash_runs import HashRuns, remove_runs
from loopwright.serving.releases.judge import ArmCounts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_FORMAT = 1
_FILE = "counts.json"


@dataclass(frozen=True)
class ArmRequests:
    """Requests of one arm, as columns of shape (n,).

    Attributes:
        unit: Salted hashes of their sticky keys.
        status: HTTP statuses.
        latency_us: Microseconds each.
    """

    unit: NDArray[np.int64]
    status: NDArray[np.int64]
    latency_us: NDArray[np.int64]


@dataclass
class StepCounts:
    """The counts of one step, up to a version of the predictions table.

    Attributes:
        until: That version; 0 where nothing is counted.
        mark: What tells its commit from any other.
        arms: By route.
        pairs: Rows that both versions answered.
        disagreements: Those of them whose answers differ.
    """

    until: int = 0
    mark: str = ""
    arms: dict[str, ArmCounts] = field(default_factory=dict)
    pairs: int = 0
    disagreements: int = 0

    def arm(self, route: str) -> ArmCounts:
        """Return what one arm saw."""
        return self.arms.get(route, ArmCounts())

    def to_json(self) -> dict[str, object]:
        """Return the counts as plain JSON values."""
        arms = {
            route: {
                "requests": arm.requests,
                "units": arm.units,
                "errors": arm.errors,
                "latency": list(arm.latency.counts),
            }
            for route, arm in self.arms.items()
        }
        return {
            "format": _FORMAT,
            "until": self.until,
            "mark": self.mark,
            "arms": arms,
            "pairs": self.pairs,
            "disagreements": self.disagreements,
        }

    @classmethod
    def from_json(cls, said: Mapping[str, object]) -> StepCounts | None:
        """Read counts back; None where they are of another form."""
        if said.get("format") != _FORMAT:
            return None
        arms = cast("dict[str, dict[str, object]]", said["arms"])
        return cls(
            until=int(str(said["until"])),
            mark=str(said["mark"]),
            arms={
                route: ArmCounts(
                    requests=int(str(arm["requests"])),
                    units=int(str(arm["units"])),
                    errors=int(str(arm["errors"])),
                    latency=LatencyHistogram(tuple(cast("list[int]", arm["latency"]))),
                )
                for route, arm in arms.items()
            },
            pairs=int(str(said["pairs"])),
            disagreements=int(str(said["disagreements"])),
        )


class StepMemory:
    """The counts of one step on this machine, and which units each arm has seen; one process at a time.

    Args:
        folder: Where the steps of the model are remembered; those of others are forgotten when one begins.
        experiment: The step, as its traffic is logged.
    """

    def __init__(self, folder: Path, experiment: str) -> None:
        self._steps = folder
        self._experiment = experiment
        self._folder = folder / hashlib.sha256(experiment.encode()).hexdigest()[:16]
        self._units: dict[str, HashRuns] = {}
        self._waiting: dict[str, NDArray[np.uint64]] = {}  # units seen since, ascending
        self.counts = self._read() or StepCounts()

    def add(self, route: str, requests: ArmRequests) -> None:
        """Count requests of an arm; ``save`` keeps them."""
        before = self.counts.arm(route)
        units = np.unique(requests.unit).view(np.uint64)
        fresh = units[~self._known(route).find(units)]
        if (waiting := self._waiting.get(route)) is not None:
            fresh = np.setdiff1d(fresh, waiting, assume_unique=True)
        self._waiting[route] = fresh if waiting is None else np.sort(np.concatenate([waiting, fresh]))
        self.counts.arms[route] = ArmCounts(
            requests=before.requests + len(requests.status),
            units=before.units + len(fresh),
            errors=before.errors + int((requests.status >= 500).sum()),
            latency=before.latency + LatencyHistogram.of(requests.latency_us / 1000.0),
        )

    def save(self, until: int, mark: str) -> None:
        """Keep what was counted, up to a version."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for route, units in self._waiting.items():
            runs = self._known(route)
            runs.publish(runs.draft([units]), until, mark)
        self._waiting = {}
        self.counts.until, self.counts.mark = until, mark
        draft = self._folder / f".{_FILE}"
        draft.write_text(json.dumps(self.counts.to_json()))
        draft.replace(self._folder / _FILE)

    def forget(self) -> None:
        """Begin anew, and forget the steps of others."""
        self.counts, self._units, self._waiting = StepCounts(), {}, {}
        remove_runs(self._steps)

    def _known(self, route: str) -> HashRuns:
        if route not in self._units:
            self._units[route] = HashRuns(self._folder / route, self._identity(route))
        return self._units[route]

    def _identity(self, route: str) -> str:
        return hashlib.sha256(f"{self._experiment}\n{route}".encode()).hexdigest()[:32]

    def _read(self) -> StepCounts | None:
        try:
            counts = StepCounts.from_json(json.loads((self._folder / _FILE).read_text()))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if counts is None:
            return None
        whole = all(
            (runs := self._known(route)).until == counts.until and runs.mark == counts.mark for route in counts.arms
        )
        return counts if whole else None
