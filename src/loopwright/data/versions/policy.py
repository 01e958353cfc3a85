"""How long things are kept: ``[retention]`` of ``loopwright.toml``, with what the command line says for this once.

::

    [retention]
    keep = "30d"                    # everything else in this list, unless it has a line of its own
    quarantine = "90d"              # rows that a contract kept out
    predictions = "730d"            # rows of the prediction log; kept for ever without this line
    restore = "7d"                  # how long what a collection took can be brought back
    datasets = { orders = "365d" }  # old snapshots of one dataset
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from loopwright.core.durations import parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopwright.core.settings import Settings

KEEP = timedelta(days=30)
RESTORE = timedelta(days=7)


@dataclass(frozen=True)
class RetentionPolicy:
    """What a garbage collection goes by.

    Attributes:
        keep: Younger things are not looked at.
        quarantine: Quarantined rows stay so long.
        predictions: Rows of the prediction log stay so long; None for ever.
        restore: What is taken can be brought back for so long.
        datasets: By dataset, how long snapshots stay that nothing needs.
    """

    keep: timedelta = KEEP
    quarantine: timedelta = KEEP
    predictions: timedelta | None = None
    restore: timedelta = RESTORE
    datasets: Mapping[str, timedelta] = field(default_factory=dict)

    @classmethod
    def of(
        cls, settings: Settings, *, keep: timedelta | None = None, restore: timedelta | None = None
    ) -> RetentionPolicy:
        """Read the settings; ``keep`` and ``restore`` stand above them, ``keep`` above every line but longer ones."""
        general = keep if keep is not None else _duration(settings.retention_keep, KEEP)
        return cls(
            keep=general,
            quarantine=_duration(settings.retention_quarantine, general) if keep is None else keep,
            predictions=None
            if settings.retention_predictions is None
            else parse_duration(settings.retention_predictions),
            restore=restore if restore is not None else _duration(settings.retention_restore, RESTORE),
            datasets={name: parse_duration(text) for name, text in settings.retention_datasets.items()},
        )

    def of_dataset(self, name: str) -> timedelta:
        """Return how long the snapshots of a dataset stay."""
        return self.datasets.get(name, self.keep)


def _duration(text: str | None, otherwise: timedelta) -> timedelta:
    return otherwise if text is None else parse_duration(text)
