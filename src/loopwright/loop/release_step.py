"""The last step of a turn: a version with a passing verdict becomes champion, at once or through a release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.registry.alias import CHALLENGER, CHAMPION
from loopwright.serving.releases.release import ReleasePlan

if TYPE_CHECKING:
    from loopwright.loop.model import ModelDeclaration
    from loopwright.loop.turn_log import Output
    from loopwright.registry.version import ModelVersion
    from loopwright.workspace import Workspace


def release(
    workspace: Workspace, model: ModelDeclaration, version: ModelVersion, champion: int | None, verdict_id: str
) -> Output:
    """Promote a first version or one without an online deployment; open a release for any other.

    Returns:
        ``promoted``: True, or None while a release decides; ``release``: its id, or None.
    """
    aliases = workspace.aliases
    if champion is not None and model.online is not None:
        plan = ReleasePlan.from_deployment(model.online)
        opened = workspace.releases.open(
            model.name, champion=f"{model.name}/{champion}", challenger=version.id, plan=plan
        )
        current = aliases.current(model.name, CHALLENGER)
        if current != version.version:
            aliases.move(model.name, CHALLENGER, version.version, expected=current, by=f"release {opened.id}")
        return {"promoted": None, "release": opened.id, "summary": f"{version.id} begins in {opened.stage}"}
    if aliases.current(model.name) != version.version:
        aliases.move(model.name, CHAMPION, version.version, expected=champion, by="turn", verdict_id=verdict_id)
    return {"promoted": True, "release": None, "summary": f"{version.id} is champion"}
