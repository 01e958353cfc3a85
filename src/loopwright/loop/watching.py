"""What the monitor is told of each model: its declaration, the live version, and the references of all that answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.monitoring.reference import ReferenceProfiles
from loopwright.monitoring.watch import monitoring
from loopwright.monitoring.watched import WatchedModel

if TYPE_CHECKING:
    from loopwright.loop.model import ModelDeclaration
    from loopwright.workspace import Workspace


def watched_model(workspace: Workspace, model: ModelDeclaration) -> WatchedModel:
    """Return what to watch about a model now: the champion, and the challenger of an open release beside it."""
    number = workspace.aliases.current(model.name)
    champion = None if number is None else f"{model.name}/{number}"
    release = workspace.releases.current(model.name)
    answering = {champion, release.challenger if release else None} - {None}
    references = ReferenceProfiles(workspace.stores)
    profiles = {version: profile for version in answering if version and (profile := references.get(version))}
    return WatchedModel(
        model=model.name,
        monitoring=model.monitoring or monitoring(),
        champion=champion,
        profiles=profiles,
        label=model.label,
    )
