"""Registry: model versions with signature, golden rows and card; their packages; aliases with an audit trail.

Reads what runs wrote and what evaluation ruled, produces versions that can be loaded and names that move. It never
trains and never answers a request.
"""

from __future__ import annotations

from loopwright.registry.alias import CHALLENGER, CHAMPION, Aliases, Override
from loopwright.registry.candidate import Candidate
from loopwright.registry.compiled import CompiledForm
from loopwright.registry.given import given_candidate
from loopwright.registry.golden import Golden
from loopwright.registry.package import LoadedModel
from loopwright.registry.registry import Registry
from loopwright.registry.signature import OutputSpec, Signature
from loopwright.registry.trail import AliasMove
from loopwright.registry.version import ModelVersion

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "AliasMove",
    "Aliases",
    "Candidate",
    "CompiledForm",
    "Golden",
    "LoadedModel",
    "ModelVersion",
    "OutputSpec",
    "Override",
    "Registry",
    "Signature",
    "given_candidate",
]
