"""Which versions of which views must be online: those declared, and those that a live model version was made with.

A changed definition is another version of the view, under another key in the online store. A model version asks for its
own: so the champion goes on answering with what it was trained on, until a version that was trained on the new
definition has taken its place and the old rows can be collected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.errors import LoopwrightError
from loopwright.features.definition import definition_from_bytes
from loopwright.features.view import FeatureView
from loopwright.features.view_registry import ViewRegistry
from loopwright.registry.trust import require_trust

if TYPE_CHECKING:
    from loopwright.features.label import Label
    from loopwright.loop.project import Loop
    from loopwright.registry.version import ModelVersion
    from loopwright.workspace import Workspace


@dataclass(frozen=True)
class LiveView:
    """A version of a view that must be online.

    Attributes:
        view: The view.
        models: The declared models and the live versions that ask for it.
    """

    view: FeatureView
    models: tuple[str, ...]


def labels_of(loop: Loop) -> tuple[Label, ...]:
    """Return the labels of all models: whoever reads their columns gets them only when they have arrived."""
    return tuple(model.label for model in loop.models.values())


def live_views(loop: Loop, workspace: Workspace) -> list[LiveView]:
    """Return the views that must be online, each version once however many models share it.

    A live version whose definition was not kept, or cannot be loaded any more, adds nothing.
    """
    views: dict[str, FeatureView] = {}
    users: dict[str, dict[str, None]] = {}

    def add(view: FeatureView, user: str) -> None:
        key = view.ref.id
        views.setdefault(key, view)
        users.setdefault(key, {})[user] = None

    for model in loop.models.values():
        if model.online is None and model.stream is None:
            continue
        for feature in model.features:
            if isinstance(feature, FeatureView):
                add(feature, model.name)
        for version in live_versions(workspace, model.name):
            for view in _own_views(workspace, version):
                add(view, version.id)
    return [LiveView(view, tuple(users[key])) for key, view in views.items()]


def _own_views(workspace: Workspace, version: ModelVersion) -> tuple[FeatureView, ...]:
    """Return the views that a version was trained with, by the definition that was kept with it."""
    digest = version.definition_digest
    if digest is None:
        return ()
    try:
        require_trust(workspace.stores.facts, version.code_digests, what=f"model version {version.id}")
        return definition_from_bytes(workspace.stores.blobs.get(digest)).views
    except (LoopwrightError, ImportError, AttributeError):  # code that needs what is not installed any more
        return ()


def live_versions(workspace: Workspace, model: str) -> list[ModelVersion]:
    """Return the versions of a model that have an alias or are in an open release."""
    named = {f"{model}/{number}" for number in workspace.aliases.of_model(model).values()}
    release = workspace.releases.current(model)
    if release is not None:
        named |= {release.champion, release.challenger}
    return [version for version in workspace.registry.versions(model) if version.id in named]


def unneeded_online(workspace: Workspace) -> list[str]:
    """Return the views in the online store that nothing asks for any more, as ``name@version``.

    Needed are the newest version of each view on record, those of live model versions, and those of the champion before
    the present one, to which a rollback would go.
    """
    registry = ViewRegistry(workspace.stores)
    newest: dict[str, str] = {}
    records = registry.versions()
    if not records:
        return []  # nothing was ever computed, and a store that nobody used is not opened
    for record in records:
        newest.setdefault(record.name, record.ref.id)
    needed = set(newest.values())
    for model in workspace.registry.models():
        numbers = {move.to_version for move in workspace.aliases.history(model)[-2:]}
        kept = [version for version in workspace.registry.versions(model) if version.version in numbers]
        for version in (*live_versions(workspace, model), *kept):
            made_from = workspace.stores.lineage.ancestors(version.training_set)
            needed |= {edge.source.id for edge in made_from if edge.source.kind == "view"}
    return [name for name in workspace.features.online.views() if name not in needed]
