"""One model as the monitor is told about it at each tick: what is declared, what is live, and the references."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loopwright.monitoring.reference import ReferenceProfile, version_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from loopwright.features.label import Label
    from loopwright.monitoring.watch import Monitoring


@dataclass(frozen=True)
class WatchedView:
    """A feature view that the live version looks up.

    Attributes:
        name: The view's name.
        key: Its name in the online store, ``name@version``.
        fresh: How old its newest value may be; None where nobody minds.
    """

    name: str
    key: str
    fresh: timedelta | None = None


@dataclass(frozen=True)
class WatchedModel:
    """What to watch.

    Attributes:
        model: The model's name, as in ``predictions/<model>``.
        monitoring: What is declared about it.
        champion: Id of the version that is live, such as ``"eta/3"``, or None. Only it raises signals about data and
            model.
        profiles: Reference profile of each version that answers, by version id.
        label: The target, for outcomes from its dataset and for their maturity; None where outcomes come as events
            only.
        views: The feature views that the champion looks up.
    """

    model: str
    monitoring: Monitoring
    champion: str | None = None
    profiles: Mapping[str, ReferenceProfile] = field(default_factory=dict)
    label: Label | None = None
    views: tuple[WatchedView, ...] = ()

    def profile(self, number: int) -> ReferenceProfile | None:
        """Return the reference of a version by its number, or None."""
        return self.profiles.get(version_id(self.model, number))
