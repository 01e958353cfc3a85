"""What the monitor is told of each model: its declaration, the live version, and the references of all that answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.monitoring.reference import ReferenceProfiles
from loopwright.monitoring.watch import monitoring
from loopwright.monitoring.watched import WatchedModel, WatchedView

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
        views=() if number is None or not model.features else _views(workspace, model, number),
    )


def _views(workspace: Workspace, model: ModelDeclaration, number: int) -> tuple[WatchedView, ...]:
    """Return the views that a version looks up: those that its training set joined."""
    made_from = workspace.registry.get(model.name, number).training_set
    joined = [
        edge.source.id
        for edge in workspace.stores.lineage.ancestors(made_from)
        if edge.target == made_from and edge.source.kind == "view"
    ]
    return tuple(_view(workspace, key) for key in joined)


def _view(workspace: Workspace, key: str) -> WatchedView:
    name, _, version = key.partition("@")
    return WatchedView(name, key, workspace.features.registry.get(name, version).fresh)
