"""One look at a model: outcomes, loss, drift, system, business, features, in this order, each on its own.

A stage that raises is put on record as a signal and does not keep the others from looking. A look with nothing new
reads a few versions and marks. The same look twice says everything once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog

from loopwright.core.hashing import digest_json
from loopwright.core.storage.duck import borrowed, to_arrow
from loopwright.monitoring.alert import Alerts, Channel, DeliveryReport, channel
from loopwright.monitoring.business import BusinessWatch, KpiFigures, kpi_figures, record_kpi
from loopwright.monitoring.coverage import LabelCoverage, label_coverage
from loopwright.monitoring.drift import DriftWatch
from loopwright.monitoring.drift_window import recent_windows
from loopwright.monitoring.estimate import AccuracyEstimate, estimate_accuracy
from loopwright.monitoring.features import FeatureWatch
from loopwright.monitoring.incident import Incident, Incidents
from loopwright.monitoring.outcomes import OutcomeCollector
from loopwright.monitoring.performance import LossFigures, LossMonitor, loss_figures
from loopwright.monitoring.signal import Signal, Signals
from loopwright.monitoring.system import SystemFigures, SystemWatch, system_figures
from loopwright.serving.log.compactor import PredictionTable, predictions_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopwright.core.storage.stores import Stores
    from loopwright.data.lake import Lake
    from loopwright.features.online import OnlineStore
    from loopwright.monitoring.watched import WatchedModel

_SHOWN: Final = timedelta(days=30)


@dataclass(frozen=True)
class ModelFigures:
    """Everything that a screen shows of one model.

    Attributes:
        model: The model.
        champion: The live version, or None.
        coverage: Label coverage per day, oldest first.
        loss: Realised loss of the champion; None without a reference.
        estimate: Estimated accuracy of the champion without labels; None where it cannot be had. Blind to concept
            drift.
        drift: The newest closed windows of the champion, oldest first.
        system: Traffic of the last day.
        kpis: Business numbers that have values.
        incidents: The live incidents.
    """

    model: str
    champion: str | None
    coverage: tuple[LabelCoverage, ...]
    loss: LossFigures | None
    estimate: AccuracyEstimate | None
    drift: tuple[dict[str, object], ...]
    system: SystemFigures
    kpis: tuple[KpiFigures, ...]
    incidents: tuple[Incident, ...]


class Monitor:
    """Watches models; all that it knows is in the stores, so any process may look at any time.

    Args:
        stores: The stores.
        lake: The datasets, for labels that come as rows.
        channels: Where incidents are told; by default those of the settings' alert addresses.
        online: Opens the online store, for the age of its values; without it nobody looks at that.
    """

    def __init__(
        self,
        stores: Stores,
        lake: Lake,
        *,
        channels: Sequence[Channel] | None = None,
        online: Callable[[], OnlineStore] | None = None,
    ) -> None:
        self._stores = stores
        used = [channel(url) for url in stores.settings.alert_urls] if channels is None else channels
        self.alerts = Alerts(stores, used)
        self.signals = Signals(stores)
        self.incidents = Incidents(stores, self.alerts.put)
        self._collector = OutcomeCollector(stores, lake)
        self._loss = LossMonitor(stores, self.signals, self.incidents)
        self._drift = DriftWatch(stores, self.signals, self.incidents)
        self._system = SystemWatch(stores, self.signals, self.incidents)
        self._business = BusinessWatch(stores, self.signals, self.incidents)
        self._features = FeatureWatch(stores, self.signals, self.incidents, online)

    def tick(self, watched: WatchedModel) -> list[Signal]:
        """Look once, and return the signals that are new."""
        stages: dict[str, Callable[[], object]] = {
            "predictions": PredictionTable(self._stores, watched.model).compact,
            "champion": lambda: self._close_superseded(watched),
            "outcomes": lambda: self._collector.collect(watched),
            "loss": lambda: self._loss.look(watched),
            "drift": lambda: self._drift.look(watched),
            "system": lambda: self._system.look(watched),
            "business": lambda: self._business.look(watched),
            "features": lambda: self._features.look(watched),
        }
        found: list[Signal] = []
        failing = {incident.check for incident in self.incidents.list(watched.model, live=True)}
        for stage, look in stages.items():
            try:
                result = look()
            except Exception as error:  # noqa: BLE001 - whatever a stage raises, the others still look
                found += self._failed(watched, stage, error)
                continue
            found += result if isinstance(result, list) else []
            if f"monitor:{stage}" in failing:
                with self._stores.facts.write() as connection:
                    self.incidents.clean(connection, watched.model, f"monitor:{stage}")
        return found

    def deliver(self) -> DeliveryReport:
        """Send what is in the outbox and due."""
        return self.alerts.deliver_due()

    def record_kpi(
        self, watched: WatchedModel, name: str, value: float, *, at: datetime | None = None, version: str | None = None
    ) -> str:
        """Report a business number; it belongs to the champion unless another version is given."""
        return record_kpi(self._stores, watched.model, name, value, at=at, version=version or watched.champion or "")

    def figures(self, watched: WatchedModel) -> ModelFigures:
        """Return everything that a screen shows of one model. Reads only."""
        since = self._stores.clock.now() - _SHOWN
        profile = watched.profiles.get(watched.champion or "")
        numbers = (
            kpi_figures(self._stores, watched.model, declared, watched.champion)
            for declared in watched.monitoring.business
        )
        return ModelFigures(
            model=watched.model,
            champion=watched.champion,
            coverage=tuple(label_coverage(self._stores, watched.model, watched.label, since=since)),
            loss=None if profile is None else loss_figures(self._stores, profile),
            estimate=self._estimate(watched),
            drift=() if watched.champion is None else tuple(recent_windows(self._stores, watched.champion)),
            system=system_figures(self._stores, watched.model, since=self._stores.clock.now() - timedelta(days=1)),
            kpis=tuple(number for number in numbers if number is not None),
            incidents=tuple(self.incidents.list(watched.model, live=True)),
        )

    def _estimate(self, watched: WatchedModel, days: int = 7) -> AccuracyEstimate | None:
        profile = watched.profiles.get(watched.champion or "")
        table = predictions_table(watched.model)
        if profile is None or profile.calibration is None:
            return None
        source = self._stores.tables.added_sql(self._stores.tables.span(table))
        if source is None:
            return None
        query = (
            f"SELECT list_max(probabilities) AS confidence FROM ({source}) WHERE version = $version AND status = 200 "
            "AND route <> 'shadow' AND \"at\" >= $since"
        )
        since = self._stores.clock.now() - timedelta(days=days)
        number = int(profile.version.rpartition("/")[2])
        with borrowed() as con:
            rows = to_arrow(con.sql(query, params={"version": number, "since": since}))
        return estimate_accuracy(rows.column("confidence").to_numpy(), profile.calibration)

    def _close_superseded(self, watched: WatchedModel) -> None:
        """End the incidents about a version that is no longer the champion."""
        live = self.incidents.list(watched.model, live=True)
        old = [one for one in live if one.dimension in {"model", "data"} and one.version != watched.champion]
        if old and watched.champion is not None:
            with self._stores.facts.write() as connection:
                checks = tuple(one.check for one in old)
                self.incidents.resolve_all(
                    connection, watched.model, f"superseded by {watched.champion}", checks=checks
                )

    def _failed(self, watched: WatchedModel, stage: str, error: Exception) -> list[Signal]:
        """Put a stage's failure on record, once an hour for the same error."""
        now = self._stores.clock.now()
        text = f"{type(error).__name__}: {error}"[:500]
        structlog.get_logger("loopwright.monitor").error("monitor failed", model=watched.model, stage=stage, error=text)
        signal = Signal(
            id=self._stores.ids.new(),
            model=watched.model,
            version="",
            dimension="system",
            check=f"monitor:{stage}",
            severity="ticket",
            value=None,
            threshold=None,
            certainty={},
            rows=0,
            window=f"{now.replace(minute=0, second=0, microsecond=0).isoformat()} {digest_json(text)[:12]}",
            evidence={"error": text},
            created_at=now,
        )
        with self._stores.facts.write() as connection:
            if not self.signals.add(connection, signal):
                return []
            self.incidents.alarm(connection, signal)
        return [signal]
