"""What the usual ways to save do here: each in dollars a month, or why it would cost more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from loopwright.planning.cost import HOURS_PER_MONTH
from loopwright.planning.plan import Saving
from loopwright.planning.search import is_feasible
from loopwright.planning.sharing import MIG_SLICES, can_mig, can_mps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from loopwright.planning.draft import Draft
    from loopwright.planning.place import Asked, Place
    from loopwright.planning.plan import Verdict
    from loopwright.planning.prices.table import PriceTable

_CENT = 0.005
_USUAL_VCPUS, _USUAL_GIB_PER_VCPU = 4, 3.75  # what people take who do not look: a machine for general use


def savings(place: Place, asked: Asked, prices: PriceTable) -> tuple[Saving, ...]:
    """Return what each strategy does in the chosen place."""
    found = [*_training(place), *_storage(place)]
    if place.serving is not None:
        found += [
            _spot(place),
            _autoscaling(place, prices),
            _right_size(place),
            *_smaller(place),
            *_commitments(place),
            _arm(place, asked),
            _gpu_sharing(place, asked),
            *_batching(place, asked),
        ]
    return tuple(found)


def _said(strategy: str, usd: float, text: str, *, is_in_plan: bool = False) -> Saving:
    verdict: Verdict = "saves" if usd > _CENT else "loses" if usd < -_CENT else "no difference"
    return Saving(strategy, verdict, usd, text, is_in_plan)


def _chosen(place: Place) -> Draft:
    assert place.serving is not None  # noqa: S101 - asked for only where there is one
    return place.serving.chosen.draft


def _like(place: Place, wanted: Callable[[Draft], bool]) -> list[Draft]:
    """Return the drafts on the chosen machine with its model and packaging that work, the cheapest first."""
    best = _chosen(place)
    assert place.serving is not None  # noqa: S101 - as above
    return [
        one
        for one in place.serving.drafted
        if (one.found.instance.type, one.found.base.name, one.packaging)
        == (best.found.instance.type, best.found.base.name, best.packaging)
        and is_feasible(one)
        and wanted(one)
    ]


def _spot(place: Place) -> Saving:
    best = _chosen(place)
    spot = _like(place, lambda one: one.purchase == "spot")
    kind = best.found.instance
    if kind.spot is None:
        return Saving("spot for serving", "not known", 0.0, f"no spot price of {kind.type} is on record")
    discount = 1 - kind.spot.usd / kind.on_demand.usd
    if not spot:
        text = (
            f"{kind.type} is {discount:.0%} cheaper as spot, but all of its {best.fewest} machines must always answer: "
            "they stay on demand"
        )
        return _said("spot for serving", 0.0, text)
    usual = _like(place, lambda one: one.purchase == "on_demand")
    against = usual[0].usd if usual else best.usd
    text = (
        f"{kind.type} is {discount:.0%} cheaper as spot; with {best.fewest} on demand and enough spot machines that a "
        f"zone may lose its share, {spot[0].most} at most, it comes to ${spot[0].usd:,.2f} against ${against:,.2f}"
    )
    return _said("spot for serving", against - spot[0].usd, text, is_in_plan=best.purchase == "spot")


def _autoscaling(place: Place, prices: PriceTable) -> Saving:
    best = _chosen(place)
    price = best.found.instance.full_month or best.found.instance.on_demand
    hour = price.usd / HOURS_PER_MONTH if best.found.instance.full_month else price.usd
    disk = prices.unit_or_nearest(place.provider, "block_storage", "node_gb_month").usd * 30
    idle = best.most - best.mean_nodes
    if best.packaging in {"vm", "serverless"} or idle < 1e-6:
        text = f"the {best.most} machines are the fewest that may answer: there is nothing to switch off"
        return _said("autoscaling", 0.0, text)
    saved = best.most * (hour * HOURS_PER_MONTH + disk) - best.usd
    text = (
        f"{best.mean_nodes:.2f} machines on average over the day in place of {best.most} all the time; it reacts in "
        "minutes, so that bursts are carried by what is there"
    )
    return _said("autoscaling", saved, text, is_in_plan=True)


def _right_size(place: Place) -> Saving:
    best = _chosen(place)
    assert place.serving is not None  # noqa: S101 - as above
    usual = [
        one
        for one in place.serving.drafted
        if (one.purchase, one.packaging, one.found.base.name) == ("on_demand", best.packaging, best.found.base.name)
        and one.found.instance.vcpus >= _USUAL_VCPUS
        and one.found.instance.memory_gib >= _USUAL_GIB_PER_VCPU * one.found.instance.vcpus
        and is_feasible(one)
    ]
    if not usual:
        return Saving("right-sizing", "not known", 0.0, "no machine for general use keeps the limit")
    mine = next(iter(_like(place, lambda one: one.purchase == "on_demand")), best)
    text = (
        f"{mine.found.instance.type} against {usual[0].found.instance.type}, the cheapest machine for general use with "
        f"{_USUAL_VCPUS} vCPUs or more, ${usual[0].usd:,.2f} on demand"
    )
    return _said("right-sizing", usual[0].usd - mine.usd, text, is_in_plan=mine.usd < usual[0].usd)


def _smaller(place: Place) -> Iterable[Saving]:
    """Say what machines smaller than one worker would save, if the model is as fast there as its cores suggest."""
    best = _chosen(place)
    assert place.serving is not None  # noqa: S101 - as above
    cut = [
        one for one in place.serving.drafted if one.found.is_cut and is_feasible(one) and one.purchase == best.purchase
    ]
    if cut and not best.found.is_cut and cut[0].usd < best.usd:
        found = cut[0]
        text = (
            f"{found.most} x {found.found.instance.type} would come to ${found.usd:,.2f}, ${best.usd - found.usd:,.2f} "
            f"less, if a request takes {found.found.service.mean_s * 1000:.0f} ms on its "
            f"{found.found.instance.cores:g} core; nobody measured that: measure it there"
        )
        yield Saving("machines smaller than one worker", "not known", 0.0, text)


def _commitments(place: Place) -> Iterable[Saving]:
    best = _chosen(place)
    usual = _like(place, lambda one: one.purchase == "on_demand")
    against = usual[0] if usual else best
    for purchase, said in (("commit_1y", "1 year"), ("commit_3y", "3 years")):
        name, price = f"commitment, {said}", best.found.instance.price(purchase)  # type: ignore[arg-type]
        if price is None:
            yield Saving(name, "not known", 0.0, f"no committed price of {best.found.instance.type} is on record")
            continue
        share = price.usd / best.found.instance.on_demand.usd
        found = _like(place, lambda one, wanted=purchase: one.purchase == wanted)  # type: ignore[misc]
        if not found:
            text = f"pays for machines that run more than {share:.0%} of the time, and none does"
            yield _said(name, 0.0, text)
            continue
        text = f"for the machines that run more than {share:.0%} of the time; the others stay on demand"
        yield _said(name, against.usd - found[0].usd, text, is_in_plan=best.purchase == purchase)


def _arm(place: Place, asked: Asked) -> Saving:
    best = _chosen(place)
    kind = best.found.instance
    if kind.architecture == "arm":
        return _said("Arm", 0.0, f"the plan runs on {kind.type} already", is_in_plan=True)
    rivals = [one for one in place.instances if one.architecture == "arm" and not one.is_gpu and not one.is_burstable]
    same = [one for one in rivals if one.vcpus == kind.vcpus] or rivals
    if not same or best.found.base.kind == "gpu":
        return Saving("Arm", "not known", 0.0, "no Arm machine of this size has a price here")
    arm = min(same, key=lambda one: one.on_demand.usd / one.vcpus)
    share = (arm.on_demand.usd / arm.vcpus) / (kind.on_demand.usd / kind.vcpus)
    if "arm" in asked.workload.ratios:
        drafted = place.serving.drafted if place.serving is not None else ()
        works = [one for one in drafted if one.found.instance.architecture == "arm" and is_feasible(one)]
        works = [one for one in works if one.purchase == best.purchase]
        if works:
            text = f"{works[0].found.instance.type} at the stated ratio comes to ${works[0].usd:,.2f}"
            return _said("Arm", best.usd - works[0].usd, text)
    longest = best.found.service.mean_s / share * 1000
    if share >= 1:
        text = f"{arm.type} costs {share - 1:.0%} more a vCPU than {kind.type}: it pays below {longest:.1f} ms"
    else:
        text = (
            f"{arm.type} costs {1 - share:.0%} less a vCPU than {kind.type}: it saves where a request takes less than "
            f"{longest:.1f} ms on as many vCPUs; measure it there"
        )
    return Saving("Arm", "not known", 0.0, text)


def _gpu_sharing(place: Place, asked: Asked) -> Saving:
    best = _chosen(place)
    service = next((one for one in asked.services if one.kind == "gpu"), None)
    if service is None:
        return _said("GPU sharing", 0.0, "no model of the plan runs on a GPU")
    load = asked.demand.peak_rps / service.capacity_rps
    card = next((one for one in place.instances if one.accelerator == service.accelerator), None)
    room = 0.0 if card is None else card.accelerator_memory_gib * 2**30
    mig = f"MIG cuts it into {MIG_SLICES}" if can_mig(service.accelerator) else "it has no MIG"
    why = can_mps([max(service.memory_bytes, 1)], [load], room) if room else None
    shared = f"MPS is out: {why}" if why else f"MPS leaves {max(0.0, 0.7 - load):.0%} of it to other models"
    text = (
        f"{service.accelerator} would be {load:.0%} busy at peak; {mig}, {shared}. The whole card is paid unless "
        "somebody uses the rest, and this plan has no other model"
    )
    return _said("GPU sharing", 0.0, text, is_in_plan=best.found.instance.accelerators % 1 > 0)


def _batching(place: Place, asked: Asked) -> Iterable[Saving]:
    for service in asked.services:
        if service.batch is None or service.largest_batch < 2:
            continue
        rate = asked.demand.sized_rps
        single = replace(service, name=f"{service.name}, one by one", largest_batch=1)
        with_batches = asked.sizing.capacity(service).fewest(rate, asked.sizing.room_s)
        alone = asked.sizing.capacity(single).fewest(rate, asked.sizing.room_s)
        machine = next((one for one in place.instances if one.accelerator == service.accelerator), None)
        if with_batches is None or alone is None or machine is None:
            continue
        spare = asked.demand.spare_nodes
        more = max(asked.demand.min_nodes, alone + spare) - max(asked.demand.min_nodes, with_batches + spare)
        text = (
            f"'{service.name}' in batches of up to {service.largest_batch} needs {with_batches} GPUs at {rate:g} "
            f"requests/s, one by one {alone}: {rate * service.batch.seconds(1):.2f} requests come while one runs, "
            "so that batches hardly form"
            if more == 0
            else f"'{service.name}' needs {with_batches} GPUs in batches, one by one {alone}"
        )
        yield _said("batching", more * machine.on_demand.usd * HOURS_PER_MONTH, text)


def _training(place: Place) -> Iterable[Saving]:
    chosen = place.chosen.get("training")
    if chosen is None or chosen.packaging == "local":
        return
    options = [chosen, *place.others.get("training", ())]
    machine = next((one for one in place.instances if one.type == chosen.instance_type), None)
    if machine is None or machine.spot is None:
        yield Saving("spot for training", "not known", 0.0, f"no spot price of {chosen.instance_type} is on record")
        return
    wall = float(chosen.settings["wall_hours_per_run"])
    work = float(chosen.settings["hours_per_run"])
    runs = float(chosen.settings["runs_per_month"])
    on_demand = work * runs * machine.on_demand.usd
    if chosen.purchase == "spot":
        text = (
            f"{machine.type} at ${machine.spot.usd:g} against ${machine.on_demand.usd:g} an hour; losses and "
            f"checkpoints make {wall:.2f} h of {work:.2f} h"
        )
        yield _said("spot for training", on_demand - chosen.usd_per_month, text, is_in_plan=True)
        return
    spot = [one for one in options if one.purchase == "spot" and one.instance_type == machine.type]
    if spot:
        reason = spot[0].reasons[0].text if spot[0].reasons else "it is dearer, losses and checkpoints included"
        yield _said("spot for training", chosen.usd_per_month - spot[0].usd_per_month, reason)


def _storage(place: Place) -> Iterable[Saving]:
    chosen = place.chosen.get("storage")
    if chosen is None:
        return
    options = [chosen, *place.others["storage"]]
    keep = next(one for one in options if one.name == "everything as it comes")
    usual = next(one for one in options if one.name.startswith("everything to "))
    text = f"{usual.name} comes to ${usual.usd_per_month:,.2f}, to leave it ${keep.usd_per_month:,.2f}"
    is_same = abs(usual.usd_per_month - chosen.usd_per_month) < _CENT
    yield _said("lifecycle rules as they come", keep.usd_per_month - usual.usd_per_month, text, is_in_plan=is_same)
    text = f"{'; '.join(chosen.notes) or chosen.name}: ${chosen.usd_per_month:,.2f} against ${keep.usd_per_month:,.2f}"
    saved = keep.usd_per_month - chosen.usd_per_month
    yield _said("packing, and rules by what an object costs", saved, text, is_in_plan=saved > _CENT)
