"""The shortcut of ``loopwright run``: where nothing is new, say so without loading the project or any engine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from loopwright.core.clock import SystemClock
from loopwright.core.settings import Settings
from loopwright.core.storage.facts import Facts
from loopwright.loop.loading import FILE_NAME
from loopwright.loop.quiet import still_quiet

if TYPE_CHECKING:
    from collections.abc import Sequence


def answers(arguments: Sequence[str]) -> bool:
    """Answer ``run [-C FOLDER] [--json]`` if nothing is new; return whether it was answered.

    Any other option, a folder without stores, or anything that changed is left to the whole command.
    """
    words = list(arguments[1:])
    as_json = "--json" in words
    words = [word for word in words if word != "--json"]
    folder = Path()
    if len(words) == 2 and words[0] in ("-C", "--project"):
        folder, words = Path(words[1]), []
    if words:
        return False
    start = folder.resolve()
    project = next((path for path in (start, *start.parents) if (path / FILE_NAME).is_file()), None)
    if project is None or not (project / ".loopwright").is_dir():
        return False
    settings = Settings.load(project)
    facts = Facts(settings.metadata_url)
    try:
        mark = still_quiet(facts, settings, now=SystemClock().now())
    finally:
        facts.close()
    if mark is None:
        return False
    said = {"nothing_new": True, "trained": False, "turn": mark.turn_id}
    text = f"Nothing new since turn {mark.turn_id}: no data, code or setting has changed."
    sys.stdout.write((json.dumps(said, indent=2) if as_json else text) + "\n")
    return True
