"""Training: one tracked run in its own process, or a search made of such fits.

Reads training sets, produces runs with their models, parameters, metrics and artifacts. Never sees the holdout, never
judges a model. The names here are the light ones; the room's main noun is ``loopwright.training.trainer.Trainer``.
"""

from __future__ import annotations

from loopwright.training.params import Params
from loopwright.training.search import Search, SearchObjective, choice, integer, search, uniform

__all__ = ["Params", "Search", "SearchObjective", "choice", "integer", "search", "uniform"]
