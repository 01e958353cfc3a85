"""Checks of what a project declares: a mistake is said where it is written, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from loopwright.core.errors import DeclarationError, UnknownNameError
from loopwright.core.sizes import parse_size
from loopwright.data.dataset import ColumnRef, Columns, Dataset
from loopwright.evaluation.gate import Gate
from loopwright.evaluation.metric_names import metric_name
from loopwright.features.label import Label
from loopwright.features.on_demand import OnDemand
from loopwright.features.split import Split
from loopwright.features.training_spec import training_set_spec
from loopwright.features.view import FeatureView
from loopwright.loop.schedule import next_due
from loopwright.serving.deploy import OnlineDeployment
from loopwright.serving.scoring.declaration import BatchDeployment
from loopwright.serving.stream.declaration import StreamDeployment
from loopwright.training.search import Search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.loop.model import ModelDeclaration

_Named = TypeVar("_Named", "Dataset", "FeatureView", "OnDemand", "ModelDeclaration")

_LONGEST_NAME = 63
_ANY_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)  # a schedule that is due after it is due some time


def checked_name(kind: str, name: object) -> str:
    """Return a name that can stand in paths, tables and web addresses.

    Raises:
        DeclarationError: If it cannot.

    >>> checked_name("model", "eta")
    'eta'
    """
    if not isinstance(name, str) or not name.replace("-", "_").isidentifier() or len(name) > _LONGEST_NAME:
        raise DeclarationError(
            f"A {kind}'s name holds letters, digits, '-' and '_', begins with a letter and has at most "
            f"{_LONGEST_NAME} of them, got {name!r}.",
            hint=f"Give the {kind} such a name.",
        )
    return name


def add_once(known: dict[str, _Named], kind: str, made: _Named) -> _Named:
    """Add what was declared under its name.

    Raises:
        DeclarationError: If the name is taken, or is none.
    """
    if checked_name(kind, made.name) in known:
        raise DeclarationError(f"There are two {kind}s named '{made.name}'.", hint="Give one of them another name.")
    known[made.name] = made
    return made


def all_of(argument: str, values: object, example: str) -> tuple[object, ...]:
    """Return the members of a list that a declaration takes.

    Raises:
        DeclarationError: If it is no list.
    """
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise DeclarationError(f"{argument}= takes a list, got {values!r}.", hint=f"Write {argument}={example}.")
    return tuple(values)


def flat_features(features: object) -> tuple[ColumnRef | FeatureView | OnDemand, ...]:
    """Return a model's features, several columns of a dataset one by one.

    Raises:
        DeclarationError: If there is none, or something is no feature.
    """
    flat: list[ColumnRef | FeatureView | OnDemand] = []
    for feature in all_of("features", features, "[orders['a', 'b'], a_view]"):
        if isinstance(feature, Columns):
            flat.extend(feature.refs)
        elif isinstance(feature, ColumnRef | FeatureView | OnDemand):
            flat.append(feature)
        else:
            raise DeclarationError(
                f"{feature!r} is no feature.", hint="Use columns (orders['a', 'b']), feature views or transforms."
            )
    if not flat:
        raise DeclarationError("A model needs at least one feature.", hint="Name columns, views or transforms.")
    return tuple(flat)


def metric_names(model: str, metrics: object) -> tuple[str, ...]:
    """Return a model's metrics by their own names, each once.

    Raises:
        DeclarationError: If there is none.
        UnknownNameError: If one of them is not known.
    """
    named = () if isinstance(metrics, str) else all_of("metrics", metrics, "['mae']")
    if not named or not all(isinstance(metric, str) for metric in named):
        raise DeclarationError(
            f"The model '{model}' has no list of metrics.", hint="Name at least one: metrics=['mae']."
        )
    return tuple(dict.fromkeys(metric_name(str(metric)).name for metric in named))


def checked_gates(model: str, gates: object, metrics: Sequence[str]) -> tuple[Gate, ...]:
    """Return a model's gates.

    Raises:
        DeclarationError: If one of them is no gate, or judges a metric that the model does not compute.
    """
    checked: list[Gate] = []
    for gate in all_of("gates", gates, "[lw.beats_champion('mae')]"):
        if not isinstance(gate, Gate):
            raise DeclarationError(
                f"{gate!r} is no gate of the model '{model}'.",
                hint="Use lw.beats_champion(…), lw.at_most(…), lw.at_least(…) or lw.every_slice(…).",
            )
        if gate.metric not in metrics:
            raise DeclarationError(
                f"A gate of the model '{model}' judges '{gate.metric}', which the model does not compute.",
                hint=f"Add it to metrics={list(metrics)}.",
            )
        checked.append(gate)
    return tuple(checked)


def check_parts(model: str, label: object, holdout: object, search: object) -> None:
    """Refuse a label, a holdout or a search that is something else.

    Raises:
        DeclarationError: With what to write instead.
    """
    if not isinstance(label, Label):
        raise DeclarationError(
            f"The label of the model '{model}' is {label!r}.", hint="Write label=lw.label(orders.minutes)."
        )
    if not isinstance(holdout, Split):
        raise DeclarationError(
            f"The holdout of the model '{model}' is {holdout!r}.",
            hint="Use lw.latest('14d'), lw.fraction(0.2) or lw.entities(0.2, by='courier_id').",
        )
    if search is not None and not isinstance(search, Search):
        raise DeclarationError(
            f"The search of the model '{model}' is {search!r}.", hint="Write search=lw.search(trials=30, …)."
        )


def checked_params(model: str, params: object, search: Search | None) -> dict[str, object]:
    """Return a model's fixed parameters.

    Raises:
        DeclarationError: If they are no mapping from names, or one of them is searched too.
    """
    if params is not None and not isinstance(params, Mapping):
        raise DeclarationError(
            f"The parameters of the model '{model}' are {params!r}.", hint="Write params={'max_depth': 8}."
        )
    fixed = dict(params or {})
    both = [name for name, _ in search.space if name in fixed] if search is not None else []
    if both:
        raise DeclarationError(
            f"The parameter '{both[0]}' of the model '{model}' is fixed and searched.",
            hint="Leave it out of params= or of search=.",
        )
    return fixed


def check_own_datasets(known: Mapping[str, Dataset], owner: str, used: Iterable[Dataset]) -> None:
    """Refuse datasets of another project.

    Raises:
        DeclarationError: If one of them is not declared here.
    """
    for dataset in used:
        if not isinstance(dataset, Dataset):
            raise DeclarationError(
                f"{owner} reads {dataset!r}, which is no dataset.", hint="Pass what loop.dataset(…) returned."
            )
        if known.get(dataset.name) is not dataset:
            raise DeclarationError(
                f"{owner} reads the dataset '{dataset.name}', which this project does not declare.",
                hint=f"Declare it with loop.dataset('{dataset.name}', …).",
            )


def check_own_sources(
    datasets: Mapping[str, Dataset], views: Mapping[str, FeatureView], owner: str, used: Iterable[Dataset | FeatureView]
) -> None:
    """Refuse datasets and views of another project.

    A view can only read views that were declared before it, so that no two can read each other.

    Raises:
        DeclarationError: If one of them is not declared here.
    """
    for source in used:
        if not isinstance(source, FeatureView):
            check_own_datasets(datasets, owner, (source,))
        elif views.get(source.name) is not source:
            raise DeclarationError(
                f"{owner} reads the view '{source.name}', which this project does not declare.",
                hint="Pass what @loop.features(…) of this same loop returned.",
            )


def check_features(
    model: str, label: Label, features: Sequence[ColumnRef | FeatureView | OnDemand], holdout: Split
) -> None:
    """Refuse features that leak the label, share a name, or name what a closed contract cannot have.

    Raises:
        FeatureError: If the label is a feature, or two features have one name.
        UnknownNameError: If a view or the holdout is keyed by a column that the label's dataset does not have.
    """
    training_set_spec(model, label=label, features=features, holdout=holdout)
    contract = label.dataset.contract
    if not contract.strict:
        return
    known = [column.name for column in contract.columns]
    wanted = [(name, f"the view '{view.name}'") for view in features if isinstance(view, FeatureView)
              for name in view.matched_on]  # fmt: skip
    wanted += [(holdout.by, "the holdout")] if holdout.by else []
    for name, owner in wanted:
        if name not in known:
            raise UnknownNameError("column", name, known, where=f"in '{label.dataset.name}', by which {owner} is keyed")


def datasets_of(label: Label, features: Iterable[ColumnRef | FeatureView | OnDemand]) -> list[Dataset]:
    """Return the datasets that a model reads, as often as it names them."""
    found = [label.dataset]
    for feature in features:
        match feature:
            case ColumnRef(dataset=dataset):
                found.append(dataset)
            case FeatureView():
                found.extend(feature.datasets)
            case OnDemand(inputs=inputs):
                found.extend(ref.dataset for ref in inputs)
    return found


def memory_bytes(text: str) -> int:
    """Return a size of memory in bytes.

    Raises:
        DeclarationError: If it is none.

    >>> memory_bytes("4GB")
    4000000000
    """
    size = parse_size(text, what="size of memory") if isinstance(text, str) else 0
    if not size:
        raise DeclarationError(
            f"{text!r} is not a size of memory.", hint="Write a number and KB, MB or GB, as in '4GB'."
        )
    return size


def check_deployments(datasets: Mapping[str, Dataset], online: object, stream: object, batch: object) -> None:
    """Refuse what is no deployment, and a schedule that scores another project's dataset or is never due.

    Raises:
        DeclarationError: As above, or if nothing is given.
    """
    if online is None and stream is None and batch is None:
        raise DeclarationError(
            "deploy() was not told where the model works.",
            hint='Write online=lw.online(), stream=lw.stream("topic"), batch=lw.batch(…), or several of them.',
        )
    if online is not None and not isinstance(online, OnlineDeployment):
        raise DeclarationError(f"online={online!r} is no deployment.", hint="Write online=lw.online(canary=[25, 100]).")
    if stream is not None and not isinstance(stream, StreamDeployment):
        raise DeclarationError(f"stream={stream!r} is no deployment.", hint='Write stream=lw.stream("orders").')
    if batch is None:
        return
    if not isinstance(batch, BatchDeployment):
        raise DeclarationError(f"batch={batch!r} is no deployment.", hint='Write batch=lw.batch(cron="0 2 * * *", …).')
    if batch.dataset is not None:
        check_own_datasets(datasets, "lw.batch", [batch.dataset])
    next_due(batch.cron, _ANY_MOMENT)
