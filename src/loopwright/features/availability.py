"""When a view's rows were known, derived from the view's own expression.

A view says what its values are; this module rewrites its Ibis expression so that every row also carries the moment at
which the last of the inputs it was computed from had arrived. The rules, from the leaves up:

* A row of a dataset with an ``arrival_time`` is known when it arrived, any other row at its event time.
* A label column is known, in addition, only ``arrives_after`` later than its row's event time, and never at that very
  moment.
* A column made of others is known when the last of them is.
* A windowed value is known when the last value **of the same window** is: the expression asks for the maximum over the
  same frame. ``lag`` and ``lead`` ask at the shifted row; ranks ask over everything up to the row.
* An aggregate is known when the last row of its group is; ``distinct`` when the first of the equal rows is; a row that
  passed a filter or a join when everything that the condition reads is.
* The view's row is known when all of its columns are, and never before its event time.

What cannot be followed (a limit, a sample, a subquery, SQL text) makes ``derive`` say so. The view's rows then count
from their event time plus the largest label delay, and no earlier than the view's own column ``_arrived_at`` if it
returns one; the training set carries a warning. A dataset with an arrival time needs that column there, or the view is
refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import ibis
import ibis.expr.operations as ops

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from loopwright.data.dataset import Dataset
    from loopwright.features.label import Label

KNOWN_AT = "__known_at__"
ARRIVED_AT = "_arrived_at"


class CannotFollowError(Exception):
    """An operation whose availability these rules do not cover; carries its name."""


@dataclass(frozen=True)
class SourceRule:
    """When the rows of one dataset are known.

    Attributes:
        known_at: The column that says so: the event time, or ``_arrived_at`` where the dataset has an arrival time.
        event_time: The dataset's event time, from which label delays count.
        delays_us: Label columns and how many microseconds after the event they are known.
    """

    known_at: str
    event_time: str
    delays_us: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Dataset, labels: Iterable[Label]) -> SourceRule:
        """Return the rule of a declared dataset, given the labels in play.

        A label is never known at its own event: a delay of zero counts as one microsecond.
        """
        event_time = dataset.event_time or ARRIVED_AT
        delays = {
            label.name: max(1, round(label.arrives_after.total_seconds() * 1_000_000))
            for label in labels
            if label.dataset.name == dataset.name
        }
        return cls(ARRIVED_AT if dataset.arrival_time else event_time, event_time, delays)

    @property
    def kind(self) -> str:
        """``arrival_time`` or ``event_time``, for the record."""
        return "arrival_time" if self.known_at == ARRIVED_AT and self.event_time != ARRIVED_AT else "event_time"


@dataclass(frozen=True)
class _Carriers:
    """The columns of a relation that hold its rows' availability, and that of single columns where it is later."""

    base: str
    columns: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys([self.base, *self.columns.values()]))


def derive(table: ibis.Table, rules: Mapping[str, SourceRule]) -> ibis.Table:
    """Return the view's table with the column ``__known_at__``.

    Args:
        table: The view's result.
        rules: By the name under which a dataset's rows are a table in the expression.

    Raises:
        CannotFollowError: If the expression holds an operation that these rules do not cover.
    """
    carriers: dict[object, _Carriers] = {}

    def visit(node: ops.Node, kwargs: dict[str, object] | None) -> ops.Node:
        if isinstance(node, ops.Subquery):
            raise CannotFollowError("a subquery")
        if isinstance(node, ops.Union) and kwargs:  # both sides must have the same columns
            kwargs |= {side: _collapse(kwargs[side], carriers[kwargs[side]]) for side in ("left", "right")}
        rebuilt = node.__class__(**kwargs) if kwargs else node
        if not isinstance(node, ops.Relation):
            return rebuilt
        made, known = _relation(rebuilt, carriers, rules)
        carriers[made] = known
        return made

    try:
        made = table.op().replace(visit)
    except ibis.common.exceptions.IbisError as error:  # an operation that does not allow for further columns
        raise CannotFollowError("an operation on exactly these columns") from error
    known = carriers[made]
    result = made.to_expr()
    latest = _latest([result[name] for name in known.names])
    kept = {name: result[name] for name in table.columns}
    return result.select(**kept, **{KNOWN_AT: latest})


def plain_frames(table: ibis.Table) -> ibis.Table:
    """Return the table with every window bound counted in its own direction: "-1 following" is "1 preceding".

    Ibis accepts negative bounds (``ibis.window(preceding=20, following=-1)``: the 20 rows before this one); DuckDB
    refuses them.
    """

    def visit(node: ops.Node, kwargs: dict[str, object] | None) -> ops.Node:
        made = node.__class__(**kwargs) if kwargs else node
        if (
            isinstance(made, ops.WindowBoundary)
            and isinstance(made.value, ops.Literal)
            and _is_negative(made.value.value)
        ):
            return ops.WindowBoundary(ops.Literal(-made.value.value, made.value.dtype), preceding=not made.preceding)
        return made

    return table.op().replace(visit).to_expr()


def _is_negative(value: object) -> bool:
    return isinstance(value, int | float) and value < 0


def _relation(
    node: ops.Relation, carriers: Mapping[object, _Carriers], rules: Mapping[str, SourceRule]
) -> tuple[ops.Relation, _Carriers]:
    match node:
        case ops.DatabaseTable() | ops.UnboundTable():
            return _source(node, rules)
        case ops.Project():
            parent = carriers[node.parent]
            return _project(node.parent, node.values, parent, parent)
        case ops.Filter():
            return _filter(node, carriers[node.parent])
        case ops.DropNull():
            return _drop_null(node, carriers[node.parent])
        case ops.Aggregate():
            return _aggregate(node, carriers[node.parent])
        case ops.JoinChain():
            return _join(node, carriers)
        case ops.Union() if not node.distinct:
            return node, _Carriers(KNOWN_AT, {})
        case ops.Distinct():
            return _distinct(node, carriers[node.parent])
        case ops.DropColumns():
            known = carriers[node.parent]
            kept = {name: known.columns[name] for name in known.columns if name not in node.columns_to_drop}
            return node, _Carriers(known.base, kept)
        case ops.Sort() | ops.FillNull() | ops.JoinReference() | ops.SelfReference() | ops.AliasedRelation():
            return node, carriers[node.parent]
        case _:
            raise CannotFollowError(type(node).__name__)


def _source(node: ops.Relation, rules: Mapping[str, SourceRule]) -> tuple[ops.Relation, _Carriers]:
    rule = rules.get(node.name)
    if rule is None:
        raise CannotFollowError(f"the table '{node.name}', which is no source of the view")
    table = node.to_expr()
    event = table[rule.event_time].cast("timestamp('UTC')")
    base = _latest([table[rule.known_at].cast("timestamp('UTC')"), event])
    extra = {KNOWN_AT: base}
    columns: dict[str, str] = {}
    for position, (column, delay_us) in enumerate(rule.delays_us.items()):
        if column in table.columns:
            columns[column] = f"__known_{position}__"
            extra[columns[column]] = _latest([base, event + ibis.interval(microseconds=delay_us)])
    return table.mutate(**extra).op(), _Carriers(KNOWN_AT, columns)


def _project(
    parent: ops.Relation,
    values: Mapping[str, ops.Value],
    known: _Carriers,
    base: _Carriers,
) -> tuple[ops.Relation, _Carriers]:
    base_value = ops.Field(parent, base.base).to_expr()
    lookup = {parent: known}
    made: dict[str, ops.Value] = {**values, KNOWN_AT: base_value.op()}
    names: dict[ops.Node, str] = {base_value.op(): KNOWN_AT}
    columns: dict[str, str] = {}
    for name, value in values.items():
        parts = _known(value, lookup, base_value)
        if not parts:
            continue
        moment = _latest([base_value, *parts]).op()
        if moment not in names:
            names[moment] = f"__known_{len(names)}__"
            made[names[moment]] = moment
        if names[moment] != KNOWN_AT:
            columns[name] = names[moment]
    return ops.Project(parent, made), _Carriers(KNOWN_AT, columns)


def _filter(node: ops.Filter, known: _Carriers) -> tuple[ops.Relation, _Carriers]:
    base = ops.Field(node.parent, known.base).to_expr()
    parts = [part for predicate in node.predicates for part in _known(predicate, {node.parent: known}, base)]
    if not parts:
        return node, known
    raised = _raise_base(node.parent, known, parts)
    predicates = [_rebind(predicate, node.parent, raised) for predicate in node.predicates]
    return ops.Filter(raised, predicates), known


def _drop_null(node: ops.DropNull, known: _Carriers) -> tuple[ops.Relation, _Carriers]:
    carried = set(known.names)
    read = (
        [column.name for column in node.subset]
        if node.subset
        else [n for n in node.parent.schema.names if n not in carried]
    )
    parts = [ops.Field(node.parent, known.columns[name]).to_expr() for name in read if name in known.columns]
    raised = _raise_base(node.parent, known, parts) if parts else node.parent
    return ops.DropNull(raised, node.how, tuple(ops.Field(raised, name) for name in read)), known


def _aggregate(node: ops.Aggregate, known: _Carriers) -> tuple[ops.Relation, _Carriers]:
    lookup = {node.parent: known}
    row = ops.Field(node.parent, known.base).to_expr()
    grouped = [part for value in node.groups.values() for part in _known(value, lookup, row)]
    base = _latest([row, *grouped])
    metrics: dict[str, ops.Value] = {**node.metrics, KNOWN_AT: base.max().op()}
    columns: dict[str, str] = {}
    for position, (name, value) in enumerate(node.metrics.items()):
        parts = _known(value, lookup, base)
        if parts and (moment := _latest(parts).op()) != metrics[KNOWN_AT]:
            columns[name] = f"__known_{position}__"
            metrics[columns[name]] = moment
    return ops.Aggregate(node.parent, node.groups, metrics), _Carriers(KNOWN_AT, columns)


def _join(node: ops.JoinChain, carriers: Mapping[object, _Carriers]) -> tuple[ops.Relation, _Carriers]:
    lookup = {table: carriers[table] for table in node.tables}
    values: dict[str, ops.Value] = dict(node.values)
    bases: list[str] = []
    visible = [node.first, *(link.table for link in node.rest if link.how not in {"semi", "anti"})]
    if len(visible) != len(node.tables):
        raise CannotFollowError("a semi or anti join")
    for position, table in enumerate(visible):
        bases.append(f"__base_{position}__")
        values[bases[-1]] = ops.Field(table, lookup[table].base)
    read = [part for link in node.rest for test in link.predicates for part in _known(test, lookup, None)]
    for position, part in enumerate(read):
        bases.append(f"__read_{position}__")
        values[bases[-1]] = part.op()
    columns: dict[str, list[str]] = {}
    for name, value in node.values.items():
        for part in _known(value, lookup, None):
            columns.setdefault(name, []).append(f"__part_{len(values)}__")
            values[columns[name][-1]] = part.op()
    joined = ops.JoinChain(node.first, node.rest, values)

    def at(name: str) -> ibis.Value:
        return ops.Field(joined, name).to_expr()

    base = _latest([at(name) for name in bases])
    made: dict[str, ops.Value] = {name: ops.Field(joined, name) for name in node.values}
    made[KNOWN_AT] = base.op()
    known: dict[str, str] = {}
    for position, (name, parts) in enumerate(columns.items()):
        known[name] = f"__known_{position}__"
        made[known[name]] = _latest([base, *(at(part) for part in parts)]).op()
    return ops.Project(joined, made), _Carriers(KNOWN_AT, known)


def _distinct(node: ops.Distinct, known: _Carriers) -> tuple[ops.Relation, _Carriers]:
    flat = _collapse(node.parent, known)
    groups = {name: ops.Field(flat, name) for name in flat.schema.names if name != KNOWN_AT}
    first = ops.Field(flat, KNOWN_AT).to_expr().min().op()
    return ops.Aggregate(flat, groups, {KNOWN_AT: first}), _Carriers(KNOWN_AT, {})


def _collapse(relation: ops.Relation, known: _Carriers) -> ops.Relation:
    """Return the relation with one availability per row, that of its latest column."""
    carried = set(known.names)
    values = {name: ops.Field(relation, name) for name in relation.schema.names if name not in carried}
    values[KNOWN_AT] = _latest([ops.Field(relation, name).to_expr() for name in known.names]).op()
    return ops.Project(relation, values)


def _raise_base(relation: ops.Relation, known: _Carriers, parts: Sequence[ibis.Value]) -> ops.Relation:
    """Return the relation with the rows' availability no earlier than ``parts``."""
    values = {name: ops.Field(relation, name) for name in relation.schema.names}
    for name in known.names:
        values[name] = _latest([ops.Field(relation, name).to_expr(), *parts]).op()
    return ops.Project(relation, values)


def _rebind(value: ops.Value, old: ops.Relation, new: ops.Relation) -> ops.Value:
    def visit(node: ops.Node, kwargs: dict[str, object] | None) -> ops.Node:
        if isinstance(node, ops.Field) and node.rel == old:
            return ops.Field(new, node.name)
        return node.__class__(**kwargs) if kwargs else node

    return value.replace(visit, filter=ops.Value)


def _known(value: ops.Node, known: Mapping[ops.Relation, _Carriers], base: ibis.Value | None) -> list[ibis.Value]:
    """Return what a value waits for beyond its own row's availability; nothing where it needs no more than that row."""
    match value:
        case ops.Field():
            if value.rel not in known:
                raise CannotFollowError("a column of another relation")
            column = known[value.rel].columns.get(value.name)
            return [] if column is None else [ops.Field(value.rel, column).to_expr()]
        case ops.WindowFunction():
            return _known_window(value, known, base)
        case ops.Subquery():
            raise CannotFollowError("a subquery")
        case ops.Reduction():
            if base is None:
                raise CannotFollowError(type(value).__name__)
            parts = _children(value, known, base)
            return [_latest([base, *parts]).max()]
        case _:
            return _children(value, known, base)


def _known_window(
    value: ops.WindowFunction, known: Mapping[ops.Relation, _Carriers], base: ibis.Value | None
) -> list[ibis.Value]:
    if base is None:
        raise CannotFollowError("a window in a join condition")
    around = [part for node in (*value.group_by, *value.order_by) for part in _known(node, known, base)]
    moment = _latest([base, *_children(value.func, known, base), *around]).op()
    frame = {"how": value.how, "start": value.start, "end": value.end}
    match value.func:
        case ops.Lag() | ops.Lead():
            function: ops.Value = type(value.func)(arg=moment, offset=value.func.offset)
        case ops.RankBase():
            function, frame = (
                ops.Max(moment),
                {"how": "rows", "start": None, "end": ops.WindowBoundary(0, preceding=False)},
            )
        case ops.Analytic() if not isinstance(value.func, ops.NthValue):
            function, frame = ops.Max(moment), {"how": "rows", "start": None, "end": None}
        case _:
            function = ops.Max(moment)
    over = ops.WindowFunction(function, group_by=value.group_by, order_by=value.order_by, **frame)
    return [over.to_expr(), *around]


def _children(node: ops.Node, known: Mapping[ops.Relation, _Carriers], base: ibis.Value | None) -> list[ibis.Value]:
    parts: list[ibis.Value] = []
    for child in node.__children__:
        if not isinstance(child, ops.Relation):
            parts.extend(_known(child, known, base))
    return parts


def _latest(moments: Sequence[ibis.Value]) -> ibis.Value:
    """Return the latest of some moments; a missing one (an empty window, no match in a join) waits for nothing."""
    unique = list({moment.op(): moment for moment in moments}.values())
    return unique[0] if len(unique) == 1 else cast("ibis.Value", ibis.greatest(*unique))
