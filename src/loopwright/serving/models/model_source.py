"""Where a server learns which versions to serve, and gets them: the port, and its adapter on registry and releases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from loopwright.registry.alias import Aliases
from loopwright.registry.registry import Registry
from loopwright.serving.releases.release import version_number
from loopwright.serving.releases.release_store import ReleaseStore
from loopwright.serving.releases.router import Routing

if TYPE_CHECKING:
    from loopwright.core.storage.stores import Stores
    from loopwright.serving.predictor import ServableModel


@dataclass(frozen=True)
class Target:
    """What should be in force for one model: versions by id, and how traffic is split."""

    routing: Routing
    champion: str
    challenger: str | None = None


class ModelSource(Protocol):
    """Tells which versions to serve, and loads them.

    What should be in force is asked from one background thread, loads from another.
    """

    def change_counter(self) -> int:
        """Return a number that moves when targets may have changed; cheap, asked several times a second."""

    def target(self, model: str) -> Target | None:
        """Return what should be in force, or None while the model has no champion."""

    def load(self, version_id: str) -> ServableModel:
        """Load a version."""

    def size_bytes(self, version_id: str) -> int | None:
        """Return the stored size of what `load` reads, or None where it is not known."""

    def refuse(self, model: str, version_id: str, reason: str) -> None:
        """Hear that a version could not be brought into service."""


class RegistrySource:
    """Serve what the registry's ``champion`` alias and the open release say."""

    def __init__(self, stores: Stores) -> None:
        self._facts = stores.facts
        self._registry = Registry(stores)
        self._aliases = Aliases(stores)
        self._releases = ReleaseStore(stores)

    def change_counter(self) -> int:
        """Return the facts' change counter."""
        return self._facts.change_counter()

    def target(self, model: str) -> Target | None:
        """Return the champion alone, or with the challenger of the open release that is on trial against it."""
        release = self._releases.current(model)
        if release is not None and release.stage == "promoting":
            return Target(release.routing(), release.challenger)
        number = self._aliases.current(model)
        if number is None:
            return None
        champion = f"{model}/{number}"
        if release is None or release.champion != champion:
            return Target(Routing(version_number(champion)), champion)
        return Target(release.routing(), release.champion, release.challenger)

    def load(self, version_id: str) -> ServableModel:
        """Load a version from the registry."""
        model, _, number = version_id.rpartition("/")
        return self._registry.load(self._registry.get(model, int(number)))

    def size_bytes(self, version_id: str) -> int | None:
        """Return the size of the version's model file, as recorded at registration."""
        model, _, number = version_id.rpartition("/")
        return self._registry.get(model, int(number)).model_file.size_bytes

    def refuse(self, model: str, version_id: str, reason: str) -> None:
        """Roll the open release back when its challenger cannot be served."""
        release = self._releases.current(model)
        if release is not None and release.challenger == version_id:
            self._releases.move(release, "roll_back", reasons=[reason])
