"""Carrying a release out: look at the evidence, let the judge speak, move, promote; safe to kill at any line.

The order of a promotion is: the release says ``promoting`` (traffic moves), the alias moves (an idempotent call), the
release says ``promoted``. Whoever finds a release in ``promoting`` does the rest again. Two controllers may tick at
once: each move names the revision it saw, and only one of them makes it. The move that ends a release, upwards or back,
drops the alias ``challenger`` with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from loopwright.core.errors import RefusedError
from loopwright.registry.alias import CHAMPION, Aliases, Override
from loopwright.serving.log.compactor import PredictionTable
from loopwright.serving.releases.arms import step_evidence
from loopwright.serving.releases.judge import judge
from loopwright.serving.releases.release import version_number
from loopwright.serving.releases.release_store import ReleaseStore

if TYPE_CHECKING:
    from loopwright.core.storage.stores import Stores
    from loopwright.serving.releases.judge import Judgement, StepEvidence
    from loopwright.serving.releases.release import Release, ReleaseMove

Promote: TypeAlias = Callable[["Release"], None]
"""Points ``champion`` to a release's challenger; doing it again changes nothing."""


class Rollout:
    """Advance the open releases of a workspace.

    Args:
        stores: The stores.
        promote: Moves the alias; the registry's by default, which asks for a passing verdict.
    """

    def __init__(self, stores: Stores, *, promote: Promote | None = None) -> None:
        self._stores = stores
        self._releases = ReleaseStore(stores)
        self._promote = promote or (lambda release: promote_alias(stores, release))

    def tick(self, model: str) -> Release | None:
        """Do what the model's open release is due; return its state afterwards, or None when none is open."""
        release = self._releases.current(model)
        if release is None:
            return None
        if release.stage == "promoting":
            return self._finish(release)
        evidence, judgement = self.look(release)
        if judgement.outcome == "hold":
            return release
        move: ReleaseMove = "advance" if judgement.outcome == "advance" else "roll_back"
        record = {"judgement": judgement.to_json(), **evidence.to_json()}
        moved = self._releases.move(release, move, reasons=judgement.reasons, evidence=record)
        if moved is None:
            return self._releases.get(release.id)
        return self._finish(moved) if moved.stage == "promoting" else moved

    def look(self, release: Release) -> tuple[StepEvidence, Judgement]:
        """Return the evidence of the present step and what the judge says to it, and change nothing."""
        predictions = PredictionTable(self._stores, release.model)
        evidence = step_evidence(release, predictions, now=self._stores.clock.now())
        return evidence, judge(evidence, release.plan)

    def roll_back(self, model: str, *, reason: str) -> Release | None:
        """End the open release by hand; the champion keeps answering. None when none is open."""
        release = self._releases.current(model)
        if release is None:
            return None
        return self._releases.move(release, "roll_back", reasons=[reason]) or self._releases.get(release.id)

    def promote_now(self, model: str, *, reason: str) -> Release | None:
        """End the open release upwards by hand, skipping the steps that are left. None when none is open."""
        release = self._releases.current(model)
        if release is None:
            return None
        if release.stage != "promoting":
            moved = self._releases.move(release, "promote", reasons=[reason])
            if moved is None:
                return self._releases.get(release.id)
            release = moved
        return self._finish(release)

    def _finish(self, release: Release) -> Release:
        try:
            self._promote(release)
        except RefusedError as error:
            moved = self._releases.move(release, "roll_back", reasons=[error.message])
        else:
            moved = self._releases.move(release, "finish")
        return moved or self._releases.get(release.id)


def promote_alias(stores: Stores, release: Release, *, override: Override | None = None) -> None:
    """Point ``champion`` to the release's challenger, which needs a passing verdict; done before, it changes nothing.

    Raises:
        GateRefusedError: When there is no passing verdict and no override.
        AliasConflictError: When somebody pointed the alias elsewhere meanwhile.
    """
    aliases = Aliases(stores)
    to_version = version_number(release.challenger)
    if aliases.current(release.model) == to_version:
        return
    aliases.move(
        release.model,
        CHAMPION,
        to_version,
        expected=version_number(release.champion),
        by=f"release {release.id}",
        override=override,
    )
