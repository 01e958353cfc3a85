"""The declared model: what to learn, from what, how it is judged, and where it goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from loopwright.data.dataset import ColumnRef
    from loopwright.evaluation.gate import Gate
    from loopwright.features.label import Label
    from loopwright.features.on_demand import OnDemand
    from loopwright.features.split import Split
    from loopwright.features.view import FeatureView
    from loopwright.loop.triggers import Trigger
    from loopwright.monitoring.watch import Monitoring
    from loopwright.serving.deploy import OnlineDeployment
    from loopwright.serving.scoring.declaration import BatchDeployment
    from loopwright.serving.stream.declaration import StreamDeployment
    from loopwright.training.search import Search

Feature = "ColumnRef | FeatureView | OnDemand"
Approval = Literal["automatic", "manual"]


@dataclass(frozen=True)
class RetrainPolicy:
    """When another turn may begin.

    Attributes:
        on: What may begin one.
        approval: ``"manual"`` proposes a turn and waits for ``loopwright approve``.
        cooldown: The least time between two turns that a trigger began. It doubles after each such turn that ended
            without a promotion (hysteresis), up to 32 times.
        max_turns: The most turns that triggers may begin within ``per``.
        per: The period of ``max_turns``.
    """

    on: tuple[Trigger, ...]
    approval: Approval
    cooldown: timedelta
    max_turns: int
    per: timedelta


@dataclass(eq=False)
class ModelDeclaration:
    """A model of the project; ``@loop.model(…)`` makes it from a training function.

    ``online``, ``stream``, ``batch``, ``monitoring`` and ``retrain`` are filled in by ``loop.deploy``,
    ``loop.monitor`` and ``loop.retrain``.
    """

    name: str
    function: Callable[..., object] = field(repr=False)
    label: Label
    features: tuple[ColumnRef | FeatureView | OnDemand, ...]
    holdout: Split
    metrics: tuple[str, ...]
    gates: tuple[Gate, ...]
    search: Search | None
    params: dict[str, object]
    seed: int
    trust_pickle: bool
    memory: str | None
    time: timedelta | None
    online: OnlineDeployment | None = None
    stream: StreamDeployment | None = None
    batch: BatchDeployment | None = None
    monitoring: Monitoring | None = None
    retrain: RetrainPolicy | None = None

    @property
    def description(self) -> str:
        """The first line of the training function's docstring."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]

    @property
    def is_key_hashed(self) -> bool:
        """Whether the dataset of its label holds pseudonyms in place of its key."""
        dataset = self.label.dataset
        columns = [dataset.contract.column(name) for name in dataset.key]
        return any(column is not None and column.sensitive == "hash" for column in columns)

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Call the training function itself, as a test of it would."""
        return self.function(*args, **kwargs)
