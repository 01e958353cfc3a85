"""The only wiring: settings → stores → rooms."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Self

from loopwright.core.access import Access
from loopwright.core.settings import Settings
from loopwright.core.storage.stores import open_stores
from loopwright.data.disclosure import Disclosure
from loopwright.data.lake import Lake
from loopwright.evaluation.evaluator import Evaluator
from loopwright.features.store import FeatureStore
from loopwright.monitoring.monitor import Monitor
from loopwright.registry.alias import Aliases
from loopwright.registry.registry import Registry
from loopwright.serving.in_process.serving import Serving
from loopwright.serving.releases.release_store import ReleaseStore
from loopwright.training.run_store import RunStore
from loopwright.training.trainer import Trainer

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from loopwright.core.access import Principal
    from loopwright.core.clock import Clock
    from loopwright.core.ids import Ids
    from loopwright.core.storage.stores import Stores


class Workspace:
    """An opened project: hands out the rooms, each made when it is first asked for, and owns no verbs of its own.

    Args:
        stores: The stores that all rooms share.
    """

    def __init__(self, stores: Stores) -> None:
        self.stores = stores

    @classmethod
    def open(cls, project: Path, *, clock: Clock | None = None, ids: Ids | None = None) -> Workspace:
        """Open the workspace of the project in a folder, creating its embedded stores where there are none yet.

        Raises:
            SettingsError: If ``loopwright.toml`` or a ``LOOPWRIGHT_`` variable cannot be used.
            StoreTooNewError: If a newer version of Loopwright wrote the stores.
        """
        return cls(open_stores(Settings.load(project), clock=clock, ids=ids))

    @cached_property
    def data(self) -> Lake:
        """Datasets, snapshots and the quarantine."""
        return Lake(self.stores)

    @cached_property
    def access(self) -> Access:
        """Tokens, roles, and the record of sensitive values that left."""
        return Access(self.stores.facts, self.stores.clock, self.stores.ids)

    @cached_property
    def principal(self) -> Principal:
        """Who works here, by ``LOOPWRIGHT_ACCESS_TOKEN``; the admin as long as no token was ever made.

        Raises:
            AccessDeniedError: If a token is needed and none, or none that counts, is given.
        """
        return self.access.principal(self.stores.settings.access_token)

    @cached_property
    def disclosure(self) -> Disclosure:
        """What of the data this person may see."""
        return Disclosure(self.access, self.principal)

    @cached_property
    def features(self) -> FeatureStore:
        """Training sets and the online store."""
        return FeatureStore(self.stores, self.data)

    @cached_property
    def training(self) -> Trainer:
        """Trainings, each in a process of its own."""
        return Trainer(self.stores)

    @cached_property
    def runs(self) -> RunStore:
        """The record of trainings."""
        return RunStore(self.stores)

    @cached_property
    def evaluation(self) -> Evaluator:
        """Evaluations on sealed holdouts, comparisons and verdicts."""
        return Evaluator(self.stores)

    @cached_property
    def registry(self) -> Registry:
        """Model versions."""
        return Registry(self.stores)

    @cached_property
    def aliases(self) -> Aliases:
        """Movable names of versions."""
        return Aliases(self.stores)

    @cached_property
    def serving(self) -> Serving:
        """Models answered inside this process."""
        return Serving(self.stores, online=lambda: self.features.online)

    @cached_property
    def releases(self) -> ReleaseStore:
        """Rollouts."""
        return ReleaseStore(self.stores)

    @cached_property
    def monitoring(self) -> Monitor:
        """Signals and incidents."""
        return Monitor(self.stores, self.data, online=lambda: self.features.online)

    def close(self) -> None:
        """Let the models go that are answered here, and give back connections."""
        if "serving" in self.__dict__:
            self.serving.close()
        self.stores.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
