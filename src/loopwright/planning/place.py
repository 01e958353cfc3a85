"""Everything in one place: each stage's options in one region of one cloud, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from loopwright.core.errors import DeclarationError
from loopwright.planning.batch_jobs import batch_options
from loopwright.planning.cadence import PER_MONTH
from loopwright.planning.cost import STAGES
from loopwright.planning.fitting import fit
from loopwright.planning.search import search_serving
from loopwright.planning.stages import data_of, metadata_of, monitoring_of, network_of, processing_of, traffic_of
from loopwright.planning.storage import storage_options, storage_stage
from loopwright.planning.stream_jobs import peak_of, stream_options, stream_sizing
from loopwright.planning.sureness import Sureness
from loopwright.planning.training import evaluation_of, training_options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from numpy.typing import NDArray

    from loopwright.planning.assumption import Ledger
    from loopwright.planning.cost import CostLine, Stage
    from loopwright.planning.demand import Demand
    from loopwright.planning.network import Traffic
    from loopwright.planning.option import Option
    from loopwright.planning.prices.instance import Instance
    from loopwright.planning.prices.table import PriceTable
    from loopwright.planning.search import Serving
    from loopwright.planning.service import ServiceModel
    from loopwright.planning.sizing import Sizing
    from loopwright.planning.stored_data import StoredData
    from loopwright.planning.training_needs import Work
    from loopwright.planning.uncertainty import Uncertainty
    from loopwright.planning.workload import Workload

_SHOWN = 8


@dataclass(frozen=True)
class Asked:
    """What is asked, with nothing left open, and what remembers the sizes: the same for all places."""

    workload: Workload
    demand: Demand
    services: tuple[ServiceModel, ...]
    work: Work
    sizing: Sizing
    streams: tuple[Sizing, ...]
    ledger: Ledger
    unsure: Uncertainty
    commitment_years: float
    seed: int
    today: date


@dataclass
class Place:
    """One region of one cloud.

    Attributes:
        provider: The cloud.
        region: In it.
        instances: What can be rented there.
        chosen: One option for each stage.
        others: What else there is for it.
        serving: What the search found; None where nobody asks over the network.
        stored: What is stored.
        traffic: What moves.
        streamed: For each stream, in which draws it keeps its limit.
    """

    provider: str
    region: str
    instances: tuple[Instance, ...]
    chosen: dict[Stage, Option] = field(default_factory=dict)
    others: dict[Stage, tuple[Option, ...]] = field(default_factory=dict)
    serving: Serving | None = None
    stored: list[StoredData] = field(default_factory=list)
    traffic: Traffic | None = None
    streamed: list[NDArray[np.bool_]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """As people say it."""
        return f"{self.provider} {self.region}"

    def parts(self) -> list[tuple[tuple[CostLine, ...], str]]:
        """Return the lines of each stage, with the service whose time drives them."""
        return [
            (self.chosen[stage].lines, str(self.chosen[stage].settings.get("service", "")))
            for stage in STAGES
            if stage in self.chosen
        ]

    def costs(self, unsure: Uncertainty) -> NDArray[np.float64]:
        """Return what all of it costs in a month in each draw."""
        found = np.zeros(unsure.draws.count)
        for lines, service in self.parts():
            found += unsure.cost(lines, service=service)
        return found

    def keeps(self, unsure: Uncertainty) -> NDArray[np.bool_]:
        """Return in which draws what was chosen keeps its limits."""
        found = np.ones(unsure.draws.count, dtype=bool)
        if self.serving is not None:
            found &= self.serving.chosen.keeps
        for keeps in self.streamed:
            found &= keeps
        return found

    def take(self, stage: Stage, options: Sequence[Option], *, shown: int = 2 * _SHOWN) -> None:
        """Choose the first option of a stage and keep the next few; a stage without options is left out.

        Raises:
            DeclarationError: If not even the first works.
        """
        if options:
            if not options[0].is_feasible:
                reason = options[0].reasons[0]
                raise DeclarationError(
                    f"No way works for {stage} in {self.name}. Nearest is {options[0].name}: {reason.text}.",
                    hint=f"Change '{reason.limit}', or name another place.",
                )
            self.chosen[stage] = options[0]
            self.others[stage] = tuple(options[1 : shown + 1])


def plan_place(asked: Asked, provider: str, region: str, prices: PriceTable) -> Place:
    """Return the options of each stage in one place, the best of each chosen.

    Raises:
        DeclarationError: If one of the stages cannot be there at all.
    """
    place = Place(provider, region, prices.instances([provider], [region]))
    demand, ledger = asked.demand, asked.ledger
    artifact = max((one.artifact_bytes for one in asked.services), default=0)
    place.stored = data_of(asked.workload, demand, artifact, asked.work.runs, ledger)
    if place.stored:
        _store(place, asked)
    place.take("processing", _spread(processing_of(asked.workload, place.stored, place.instances, ledger)))
    if asked.work.runs > 0:
        trained = _allowed_first(training_options(asked.work, place.instances, provider, region), asked)
        place.take("training", _spread(trained))
        evaluated = evaluation_of(trained[0], asked.work)
        place.take("evaluation", [] if evaluated is None else [evaluated])
    nodes, replicas, is_alone = _answer(place, asked, prices)
    _score(place, asked, prices)
    place.traffic = traffic_of(demand, place.stored, nodes, ledger)
    balanced = demand.is_online and not is_alone
    place.take("network", network_of(place.traffic, prices, provider, region, has_balancer=balanced))
    place.take("monitoring", monitoring_of(asked.workload, demand, replicas, prices, provider, region, ledger))
    machines = 1 if is_alone else max(2, demand.min_nodes)
    place.take("metadata", metadata_of(demand, prices, provider, region, machines=machines, ledger=ledger))
    return place


def _store(place: Place, asked: Asked) -> None:
    together = storage_stage(place.stored, place.provider, today=asked.today)
    each = [
        option for data in place.stored for option in storage_options(data, place.provider, today=asked.today)[:_SHOWN]
    ]
    place.take("storage", (*together, *each), shown=40)


def _answer(place: Place, asked: Asked, prices: PriceTable) -> tuple[float, float, bool]:
    """Choose how to serve; return the machines on average, the replicas, and whether one machine does it."""
    if not asked.demand.is_online:
        return 1.0, 1.0, not asked.workload.streams
    found = search_serving(
        asked.workload,
        asked.demand,
        asked.services,
        place.instances,
        asked.sizing,
        prices,
        asked.unsure,
        asked.commitment_years,
    )
    place.serving = found
    chosen = found.chosen.option
    works = [one.option for one in found.kept if one is not found.chosen]
    place.chosen["serving"] = chosen
    place.others["serving"] = (*works, *found.refused)
    return found.chosen.draft.mean_nodes, float(chosen.settings["max_replicas"]), chosen.packaging == "vm"


def _score(place: Place, asked: Asked, prices: PriceTable) -> None:
    work = asked.workload
    batches = [
        _allowed_first(batch_options(job, asked.services, place.instances, work.ratios), asked) for job in work.batches
    ]
    place.take("batch", _joined(batches))
    streams = [
        _allowed_first(
            stream_options(
                job,
                asked.services,
                place.instances,
                work.ratios,
                asked.demand,
                sizing,
                asked.unsure,
                prices,
                place.provider,
            ),
            asked,
        )
        for job, sizing in zip(work.streams, asked.streams, strict=True)
    ]
    place.take("streaming", _joined(streams))
    for job, sizing, options in zip(work.streams, asked.streams, streams, strict=True):
        best = options[0]
        machine = next(one for one in place.instances if one.type == best.instance_type)
        service = next(one for one in asked.services if one.name == best.settings["service"])
        placed = fit(service, machine, work.ratios)
        if placed is not None:
            sure = Sureness(peak_of(job, asked.demand), "events", sizing, asked.unsure)
            place.streamed.append(sure.keeps(placed, best.count * placed.workers))


def _joined(jobs: Sequence[Sequence[Option]]) -> list[Option]:
    """Return the best of several jobs as one option, then what else there is for each."""
    listed = [list(_spread(options)) for options in jobs if options]
    if not listed:
        return []
    first = listed[0][0]
    if len(listed) > 1:
        lines = tuple(line for options in listed for line in options[0].lines)
        first = replace(first, name="; ".join(options[0].name for options in listed), lines=lines)
    return [first, *(one for options in listed for one in options[1:])]


def _spread(options: Sequence[Option]) -> list[Option]:
    """Return the first of each machine and purchase, the cheapest in front, and refused ones to explain.

    Those are the ones that would be cheaper, and the first for each other limit that is broken.
    """
    kept, seen = list(options[:1]), {(one.instance_type, one.purchase) for one in options[:1]}
    for one in options[1:]:
        name = (one.instance_type, one.purchase)
        if one.is_feasible and name not in seen and len(kept) < _SHOWN:
            seen.add(name)
            kept.append(one)
    refused = sorted((one for one in options if not one.is_feasible), key=lambda one: one.usd_per_month)
    shown = [one for one in refused if one.usd_per_month < options[0].usd_per_month][:3]
    limits = {reason.limit for one in shown for reason in one.reasons}
    for one in refused:
        if {reason.limit for reason in one.reasons} - limits:
            limits |= {reason.limit for reason in one.reasons}
            shown.append(one)
    return [*kept, *(one for one in shown if one is not kept[0])]


def _allowed_first(options: Sequence[Option], asked: Asked) -> list[Option]:
    """Return the options in their order, those behind that are a commitment for longer than the person allows."""

    def years(option: Option) -> float:
        return {"commit_1y": 1.0, "commit_3y": 3.0}.get(option.purchase, 0.0)

    return sorted(options, key=lambda one: (not one.is_feasible, years(one) > asked.commitment_years))


def streams_of(workload: Workload, seed: int) -> tuple[Sizing, ...]:
    """Return what remembers the sizes of each stream."""
    return tuple(stream_sizing(job, workload.percentile, seed) for job in workload.streams)


def cadence_runs(workload: Workload) -> float:
    """Return how many trainings a month the workload's cadence makes."""
    return PER_MONTH[workload.retrain]
