"""The declared project: what a user's ``loop.py`` makes, with its seven declarations in the order data flows."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from loopwright.core.durations import parse_duration
from loopwright.core.errors import DeclarationError
from loopwright.data.dataset import Dataset
from loopwright.features.on_demand import on_demand
from loopwright.features.view import feature_view
from loopwright.loop.declared import (
    add_once,
    all_of,
    check_deployments,
    check_features,
    check_own_datasets,
    check_own_sources,
    check_parts,
    checked_gates,
    checked_name,
    checked_params,
    datasets_of,
    flat_features,
    memory_bytes,
    metric_names,
)
from loopwright.loop.model import ModelDeclaration, RetrainPolicy
from loopwright.loop.triggers import check_triggers
from loopwright.monitoring.watch import monitoring
from loopwright.planning.workload import workload
from loopwright.training.signature import extras_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import ibis

    from loopwright.data.contract.check import Check
    from loopwright.data.contract.column import Column
    from loopwright.data.contract.contract import Contract
    from loopwright.data.dataset import ColumnRef, Columns, OnDuplicate
    from loopwright.data.sources.source import Source
    from loopwright.evaluation.gate import Gate
    from loopwright.features.label import Label
    from loopwright.features.on_demand import OnDemand
    from loopwright.features.split import Split
    from loopwright.features.view import FeatureView
    from loopwright.loop.model import Approval
    from loopwright.loop.triggers import Trigger
    from loopwright.monitoring.watch import DriftWindows, Kpi, LossWatch
    from loopwright.planning.cadence import Cadence
    from loopwright.planning.workload import Workload
    from loopwright.serving.deploy import OnlineDeployment
    from loopwright.serving.scoring.declaration import BatchDeployment
    from loopwright.serving.stream.declaration import StreamDeployment
    from loopwright.training.search import Search

    ViewFunction = Callable[..., ibis.Table]


class Loop:
    """A declared project: datasets, features, models, and how each model is deployed, monitored and retrained.

    Nothing runs when it is declared. ``loopwright run`` turns it once, ``loopwright up`` keeps it turning.

    >>> loop = Loop("deliveries")
    >>> loop.workload(requests_per_day=1_000_000, peak_rps=50).mean_rps
    11.574074074074074
    """

    def __init__(self, name: str) -> None:
        self.name = checked_name("project", name)
        self.datasets: dict[str, Dataset] = {}
        self.views: dict[str, FeatureView] = {}
        self.transforms: dict[str, OnDemand] = {}
        self.models: dict[str, ModelDeclaration] = {}
        self.demand: Workload | None = None

    def __repr__(self) -> str:
        return f"Loop({self.name!r}: {len(self.datasets)} datasets, {len(self.models)} models)"

    def dataset(
        self,
        name: str,
        *,
        source: Source,
        event_time: str | None = None,
        arrival_time: str | None = None,
        key: str | Iterable[str] | None = None,
        contract: Contract | Iterable[Column | Check] | None = None,
        on_duplicate: OnDuplicate | None = None,
        description: str = "",
    ) -> Dataset:
        """Declare a dataset: where its rows come from and what they must satisfy.

        Args:
            name: Unique in the project.
            source: ``lw.files(…)``, ``lw.push()`` or ``lw.frame(…)``.
            event_time: The column with the moment a row speaks of.
            arrival_time: The column with the moment a row became known, where the source records it.
            key: The column, or columns, that name a row.
            contract: Columns (``lw.column``) and checks (``lw.unique``, ``lw.fresh``, …).
            on_duplicate: What becomes of a row whose key is stored already with other content: ``"quarantine"`` it,
                ``"ignore"`` it, or ``"upsert"``.
            description: What the rows are.

        Raises:
            ContractError: If the contract contradicts itself or names an unknown column.
        """
        made = Dataset(
            name,
            source,
            event_time=event_time,
            arrival_time=arrival_time,
            key=key,
            contract=contract,
            on_duplicate=on_duplicate,
            description=description,
        )
        return add_once(self.datasets, "dataset", made)

    def features(
        self,
        *sources: Dataset | FeatureView,
        entity: str | Iterable[str] | Mapping[str, str] | None = None,
        event_time: str | None = None,
        ttl: str | float | timedelta | None = None,
        name: str | None = None,
        owner: str = "",
        tags: Iterable[str] = (),
        fresh: str | float | timedelta | None = None,
        looks_ahead: bool = False,
    ) -> Callable[[ViewFunction], FeatureView]:
        """Declare a feature view; the function takes one Ibis table per source and returns one.

        Args:
            sources: The datasets and other views it reads, in the order of the function's arguments.
            entity: The column, or columns, that an example is matched on; ``{"courier": "courier_id"}`` where the
                view's column ``courier`` equals the examples' ``courier_id``; nothing for a view that is joined by time
                only.
            event_time: The event-time column of the result; by default that of the first source.
            ttl: How long a row counts, such as ``"7d"``; None for ever.
            name: By default the function's name.
            owner: Who answers for it.
            tags: Words to find it by.
            fresh: How old its newest row may be, such as ``"1h"``.
            looks_ahead: Allow it to take in rows later than its own; each of its rows then counts only once all of them
                are known.

        Raises:
            FeatureError: If it contradicts itself, or reads a dataset or view that this project does not declare.
        """

        def declare(function: ViewFunction) -> FeatureView:
            check_own_sources(self.datasets, self.views, "The feature view", sources)
            view = feature_view(
                function,
                *sources,
                entity=entity,
                event_time=event_time,
                ttl=ttl,
                name=name,
                owner=owner,
                tags=tags,
                fresh=fresh,
                looks_ahead=looks_ahead,
            )
            return add_once(self.views, "feature view", view)

        return declare

    def transform(
        self, *inputs: ColumnRef | Columns | Dataset, name: str | None = None, batch_rows: int | None = None
    ) -> Callable[[Callable[..., object]], OnDemand]:
        """Declare an on-demand transform: arrays in, one array out, the same code in training and at request time.

        Args:
            inputs: The columns, in the order of the function's arguments.
            name: By default the function's name.
            batch_rows: The most rows per call.
        """

        def declare(function: Callable[..., object]) -> OnDemand:
            sizes = {} if batch_rows is None else {"batch_rows": batch_rows}
            made = on_demand(function, *inputs, name=name, **sizes)  # type: ignore[arg-type]
            check_own_datasets(self.datasets, f"The transform '{made.name}'", [ref.dataset for ref in made.inputs])
            return add_once(self.transforms, "transform", made)

        return declare

    def model(
        self,
        name: str,
        *,
        label: Label,
        features: Iterable[ColumnRef | Columns | FeatureView | OnDemand],
        holdout: Split,
        metrics: Sequence[str],
        gates: Sequence[Gate] = (),
        search: Search | None = None,
        params: Mapping[str, object] | None = None,
        seed: int = 0,
        trust_pickle: bool = False,
        memory: str | None = None,
        time: str | timedelta | None = None,
    ) -> Callable[[Callable[..., object]], ModelDeclaration]:
        """Declare a model by its training function ``f(train)``, ``f(train, params)`` or ``f(train, params, seed)``.

        Args:
            name: Unique in the project.
            label: The target, ``lw.label(orders.minutes, arrives_after="2h")``.
            features: Columns, views and transforms, in the order the model sees them.
            holdout: What is sealed for evaluation: ``lw.latest``, ``lw.fraction`` or ``lw.entities``.
            metrics: scikit-learn's names; the first one is the primary, which a search optimises.
            gates: What a new version must satisfy to become champion.
            search: A hyperparameter search, ``lw.search(trials=30, …)``.
            params: Fixed parameters.
            seed: Makes a training repeatable.
            trust_pickle: Allow a model that only pickle can store.
            memory: Bound on the training's memory, such as ``"4GB"``; by default ``[training] memory``.
            time: Bound on the training's time, such as ``"1h"``; by default ``[training] time``.

        Raises:
            UnknownNameError: If a metric is not known.
            DeclarationError: If a part is something else, a dataset is of another project, a gate judges a metric that
                the model does not compute, or the function takes what nobody gives.
        """
        checked_name("model", name)
        check_parts(name, label, holdout, search)
        used = flat_features(features)
        check_own_datasets(self.datasets, f"The model '{name}'", datasets_of(label, used))
        check_features(name, label, used, holdout)
        computed = metric_names(name, metrics)
        checked = checked_gates(name, gates, computed)
        fixed = checked_params(name, params, search)
        longest = None if time is None else parse_duration(time)
        if longest is not None and longest <= timedelta(0):
            raise DeclarationError(f"time={time!r} leaves the model '{name}' no time to train.")
        if memory is not None:
            memory_bytes(memory)

        def declare(function: Callable[..., object]) -> ModelDeclaration:
            extras_of(function)
            made = ModelDeclaration(
                name=name,
                function=function,
                label=label,
                features=used,
                holdout=holdout,
                metrics=computed,
                gates=checked,
                search=search,
                params=fixed,
                seed=seed,
                trust_pickle=trust_pickle,
                memory=memory,
                time=longest,
            )
            return add_once(self.models, "model", made)

        return declare

    def deploy(
        self,
        model: ModelDeclaration,
        *,
        online: OnlineDeployment | None = None,
        stream: StreamDeployment | None = None,
        batch: BatchDeployment | None = None,
    ) -> None:
        """Put a model to work, in one way or several.

        Args:
            model: The model.
            online: ``lw.online(shadow=…, canary=[5, 25, 100])`` says how a new version reaches traffic.
            stream: ``lw.stream("orders")`` lets it answer the events of a topic.
            batch: ``lw.batch(cron="0 2 * * *", dataset=orders)`` lets it score rows by schedule.

        Raises:
            DeclarationError: If none is given, or one is no deployment.
        """
        own = self._own(model)
        check_deployments(self.datasets, online, stream, batch)
        own.online = online or own.online
        own.stream = stream or own.stream
        own.batch = batch or own.batch

    def monitor(
        self,
        model: ModelDeclaration,
        *,
        latency_p99: str | timedelta | None = None,
        errors: float | None = None,
        drift: str | int | timedelta | DriftWindows | None = "daily",
        business: Kpi | Sequence[Kpi] = (),
        loss: LossWatch | None = None,
        missing_features: float | None = None,
    ) -> None:
        """Watch a model in four dimensions: system (latency, errors), model (realised loss), data (drift), business.

        See ``loopwright.monitoring.watch.monitoring`` for what each means.
        """
        self._own(model).monitoring = monitoring(
            latency_p99=latency_p99,
            errors=errors,
            drift=drift,
            business=business,
            loss=loss,
            missing_features=missing_features,
        )

    def retrain(
        self,
        model: ModelDeclaration,
        *,
        on: Sequence[Trigger],
        approval: Approval = "automatic",
        cooldown: str | float | timedelta = "1h",
        max_turns: int = 10,
        per: str | float | timedelta = "30d",
    ) -> None:
        """Say what begins another turn, how often at most, and whether a person approves it first.

        Args:
            model: The model to train anew.
            on: ``lw.schedule``, ``lw.loss_above_reference``, ``lw.new_rows``, ``lw.drift_seen``.
            approval: ``"automatic"`` or ``"manual"``.
            cooldown: The least time between two such turns; doubled after each one that promoted nothing.
            max_turns: The most such turns within ``per``.
            per: The period of ``max_turns``.
        """
        if approval not in ("automatic", "manual"):
            raise DeclarationError(f"approval={approval!r} is not known.", hint="Use 'automatic' or 'manual'.")
        if max_turns < 1:
            raise DeclarationError(f"max_turns must be at least 1, got {max_turns}.")
        triggers = check_triggers(all_of("on", on, "[lw.new_rows(10_000)]"))
        if not triggers:
            raise DeclarationError("on=[] begins no turn, ever.", hint="Name a trigger, such as lw.new_rows(10_000).")
        period = parse_duration(per)
        if period <= timedelta(0):
            raise DeclarationError(f"per={per!r} is no period for a budget of turns.", hint="Write per='30d'.")
        self._own(model).retrain = RetrainPolicy(
            on=triggers,
            approval=approval,
            cooldown=parse_duration(cooldown),
            max_turns=max_turns,
            per=period,
        )

    def workload(
        self,
        *,
        requests_per_day: float,
        peak_rps: float | None = None,
        latency_p99: str | float | timedelta | None = None,
        retrain: Cadence = "monthly",
        payload: str | int | None = None,
        retention: str | timedelta | None = None,
        **more: object,
    ) -> Workload:
        """Declare what the project must carry; the planner sizes and prices it.

        The arguments are those of :func:`loopwright.planning.workload.workload`, with what else a workload has.
        """
        self.demand = workload(
            requests_per_day=requests_per_day,
            peak_rps=peak_rps,
            latency_p99=latency_p99,
            retrain=retrain,
            payload=payload,
            retention=retention,
            **more,
        )
        return self.demand

    def _own(self, model: ModelDeclaration) -> ModelDeclaration:
        if not isinstance(model, ModelDeclaration):
            raise DeclarationError(
                f"A model is expected, got {type(model).__name__}.",
                hint="Pass the function that @loop.model(…) decorates.",
            )
        if self.models.get(model.name) is not model:
            raise DeclarationError(
                f"The model '{model.name}' is not declared in the project '{self.name}'.",
                hint="Pass the function that @loop.model(…) of this same loop decorates.",
            )
        return model
