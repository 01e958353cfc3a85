"""A plan as files: for one machine, for a cluster, or for a cloud's machines."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from loopwright.core.errors import UnknownNameError
from loopwright.planning.export.blueprint import Blueprint, blueprint_of
from loopwright.planning.export.compose import compose
from loopwright.planning.export.guide import guide
from loopwright.planning.export.kubernetes import kubernetes
from loopwright.planning.export.lifecycle import lifecycle
from loopwright.planning.export.pods import crowding
from loopwright.planning.export.target import TARGETS
from loopwright.planning.export.terraform import terraform

if TYPE_CHECKING:
    from loopwright.planning.export.artefact import Artefact
    from loopwright.planning.option import Packaging
    from loopwright.planning.plan import Plan
    from loopwright.planning.prices.table import PriceTable


@dataclass(frozen=True)
class Export:
    """What was made of a plan.

    Attributes:
        blueprint: The numbers.
        artefacts: The files.
    """

    blueprint: Blueprint
    artefacts: tuple[Artefact, ...]


def export_plan(
    plan: Plan, prices: PriceTable, target: str, *, image: str = "", bucket: str = "", host: str = ""
) -> Export:
    """Return the files for a plan.

    Args:
        plan: The plan.
        prices: Where the sizes of its machines are looked up.
        target: ``compose``, ``kubernetes`` or ``terraform``.
        image: The project's image; named after the project by default.
        bucket: Of the lake; named after the project by default.
        host: The name under which a cluster's Ingress answers.

    Raises:
        UnknownNameError: If there is no such target.
        DeclarationError: If the plan has nothing to make, or its cloud is none that the target knows.
    """
    if target not in TARGETS:
        raise UnknownNameError("target", target, TARGETS)
    packaging: Packaging = "kubernetes" if target == "kubernetes" else "vm"
    if target == "terraform" and "serving" in plan.stages:
        chosen = plan.stages["serving"].chosen.packaging
        packaging = "vm" if chosen == "vm" else "vm_group"
    blueprint = blueprint_of(plan, prices, packaging=packaging)
    named = image or f"{blueprint.name}:latest"
    if target == "compose":
        made = compose(blueprint, image=named)
    elif target == "kubernetes":
        crowded = "" if blueprint.fleet is None else crowding(blueprint.fleet)
        blueprint = replace(blueprint, notes=(*blueprint.notes, crowded)) if crowded else blueprint
        made = (*kubernetes(blueprint, image=named, bucket=bucket, host=host), *lifecycle(blueprint))
    else:
        made = (*terraform(blueprint), *lifecycle(blueprint))
    return Export(blueprint, (*made, guide(blueprint, target, image=named)))
