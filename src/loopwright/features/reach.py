"""What a view's rows reach to, read off its expression: which rows of the datasets each one can depend on.

Two questions are answered without data:

* **Is the view local to its entity?** It is, by a key, if every row depends only on rows of the datasets with the same
  value of that key. A *path* says which column of each table that key is, and which columns of the result carry it. A
  window keeps a path only if it is partitioned by it, an aggregate if it groups by it, a join if it equates it on both
  sides, a union if both sides agree. What is not listed here keeps none: the answer is then "not local", never a guess.
* **Does it look ahead, or multiply rows?** A window that ends after its row, an order that runs backwards, an aggregate
  or a partition over all of time, and a join on columns that do not name a row, with no condition on time, are found
  and put into words. A partition or a group by something made of a time (an hour, a day) is bounded by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import ibis.expr.operations as ops

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import ibis

_Column = tuple[object, str]


@dataclass(frozen=True)
class Path:
    """A key that is carried from the tables to a relation.

    Attributes:
        read: By table, the column that it is there.
        columns: The relation's columns that equal it in every row.
    """

    read: Mapping[str, str]
    columns: frozenset[str]


@dataclass(frozen=True)
class Reach:
    """What is known of a relation's rows.

    Attributes:
        paths: The keys to which its rows are local.
        times: Its columns that are times, or made of times.
        unique: Sets of columns that name a row.
        looks_ahead: What takes in rows later than its own, in words.
        multiplies: What may give several rows for one, in words; an aggregate above it puts that right.
        impure: What gives something else at each run, in words.
    """

    paths: tuple[Path, ...] = ()
    times: frozenset[str] = frozenset()
    unique: tuple[frozenset[str], ...] = ()
    looks_ahead: tuple[str, ...] = ()
    multiplies: tuple[str, ...] = ()
    impure: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableFacts:
    """What is known of a table that an expression reads.

    Attributes:
        unique: Sets of columns that name a row.
        paths: For another view's rows: the keys to which they are local, from the datasets on; None for a dataset.
    """

    unique: tuple[frozenset[str], ...] = ()
    paths: tuple[Path, ...] | None = None


def reach_of(expression: ibis.Table, tables: Mapping[str, TableFacts]) -> Reach:
    """Return what the rows of an expression reach to.

    Args:
        expression: Of tables in ``tables``.
        tables: By name.
    """
    node = expression.op()
    impure = (*node.find(ops.Impure), *node.find((ops.TimestampNow, ops.DateNow)))
    return replace(_Walk(tables).of(node), impure=tuple(dict.fromkeys(_name(one) for one in impure)))


@dataclass
class _Walk:
    tables: Mapping[str, TableFacts]
    seen: dict[ops.Node, Reach] = field(default_factory=dict)

    def of(self, node: ops.Node) -> Reach:
        if node not in self.seen:
            self.seen[node] = self._of(node)
        return self.seen[node]

    def _of(self, node: ops.Node) -> Reach:
        match node:
            case ops.DatabaseTable() | ops.UnboundTable():
                return _table(node, self.tables.get(node.name, TableFacts()))
            case ops.Project():
                return _project(node.values, self.of(node.parent), node.schema)
            case ops.Filter():
                return _through(node.predicates, self.of(node.parent))
            case ops.Aggregate():
                return _aggregate(node, self.of(node.parent))
            case ops.JoinChain():
                return _join(node, [self.of(table) for table in node.tables])
            case ops.Union() if not node.distinct:
                return _union(self.of(node.left), self.of(node.right))
            case ops.Distinct():
                below = self.of(node.parent)
                return replace(below, unique=(frozenset(node.schema.names),), multiplies=())
            case ops.DropColumns():
                return _kept(self.of(node.parent), {name: name for name in node.schema.names})
            case ops.FillNull():
                filled = node.replacements
                names = set(filled) if isinstance(filled, dict) or hasattr(filled, "keys") else set(node.schema.names)
                kept = {name: name for name in node.schema.names if name not in names}
                return replace(_kept(self.of(node.parent), kept), times=self.of(node.parent).times)
            case ops.DropNull() | ops.Sort() | ops.JoinReference() | ops.SelfReference() | ops.AliasedRelation():
                return self.of(node.parent)
            case _:
                return self._unknown(node)

    def _unknown(self, node: ops.Node) -> Reach:
        below = [self.of(child) for child in node.__children__ if isinstance(child, ops.Relation)]
        return Reach(
            times=_times_of(node.schema),
            looks_ahead=_join_texts(one.looks_ahead for one in below),
            multiplies=_join_texts(one.multiplies for one in below),
        )


def _table(node: ops.Relation, facts: TableFacts) -> Reach:
    paths = facts.paths
    if paths is None:
        paths = tuple(Path({node.name: name}, frozenset({name})) for name in node.schema.names)
    return Reach(paths, _times_of(node.schema), facts.unique)


def _project(values: Mapping[str, ops.Value], below: Reach, schema: ibis.Schema) -> Reach:
    after = _through(values.values(), below)
    same = {name: value.name for name, value in values.items() if isinstance(value, ops.Field)}
    times = {name for name, value in values.items() if _is_of_time(value, below.times)} | _times_of(schema)
    return replace(_kept(after, same), times=frozenset(times))


def _kept(below: Reach, same: Mapping[str, str]) -> Reach:
    """Return what stays where the result's columns (left) are columns of the relation below (right)."""
    paths = []
    for path in below.paths:
        columns = frozenset(name for name, old in same.items() if old in path.columns)
        if columns:
            paths.append(Path(path.read, columns))
    new = {old: name for name, old in same.items()}
    unique = tuple(frozenset(new[name] for name in one) for one in below.unique if one <= new.keys())
    times = frozenset(name for name, old in same.items() if old in below.times)
    return replace(below, paths=tuple(paths), unique=unique, times=times)


def _through(values: Iterable[ops.Value], below: Reach) -> Reach:
    """Return what stays of a relation once windows are computed over its rows."""
    paths, ahead = below.paths, list(below.looks_ahead)
    for value in values:
        for window in _windows(value):
            by = window.group_by if isinstance(window, ops.WindowFunction) else ()
            columns = {one.name for one in by if isinstance(one, ops.Field)}
            paths = tuple(path for path in paths if path.columns & columns)
            text = _looks_ahead(window, below.times)
            if text is not None:
                ahead.append(text)
    return replace(below, paths=paths, looks_ahead=tuple(dict.fromkeys(ahead)))


def _windows(value: ops.Node) -> Iterator[ops.Node]:
    """Yield what is computed over several rows: windows, bare reductions (over all rows), subqueries."""
    if isinstance(value, ops.Relation):
        return
    below: Sequence[ops.Node] = value.__children__
    if isinstance(value, ops.WindowFunction):
        yield value
        below = (*value.func.__children__, *value.group_by, *value.order_by)
    elif isinstance(value, ops.Reduction | ops.Analytic | ops.Subquery):
        yield value
    for child in below:
        yield from _windows(child)


def _looks_ahead(window: ops.Node, times: frozenset[str]) -> str | None:
    if not isinstance(window, ops.WindowFunction):
        return f"{_name(window)} takes in all rows, later ones too"
    function = window.func
    called = _name(function)
    if any(_is_of_time(value, times) for value in window.group_by):
        return None
    if not window.order_by:
        return f"{called} takes in all rows of its group, later ones too: the window has no order"
    first = window.order_by[0]
    if not _is_of_time(first.arg, times):
        return f"{called} runs over rows ordered by '{_name(first.arg)}', which is no time"
    backwards = not first.ascending
    if isinstance(function, ops.Lag | ops.Lead):
        ahead = isinstance(function, ops.Lead) != backwards
        return f"{called} takes the value of a later row" if ahead else None
    if isinstance(function, ops.PercentRank | ops.CumeDist | ops.NTile):
        return f"{called} counts all rows of its group, later ones too"
    if isinstance(function, ops.RankBase):
        return f"{called} counts from the newest row on" if backwards else None
    bound = window.start if backwards else window.end
    if bound is None:
        return f"{called} runs to the {'newest' if backwards else 'end'} of its group: give the window a last row"
    if _offset(bound) > 0 if not backwards else _offset(bound) < 0:
        return f"{called} takes in later rows: the window ends after its own row"
    return None


def _offset(bound: ops.WindowBoundary) -> float:
    """Return how far a bound lies after its row, in rows or in any unit of time."""
    numbers = [one.value for one in bound.value.find(ops.Literal) if isinstance(one.value, int | float)]
    size = float(numbers[0]) if numbers else 1.0
    return -size if bound.preceding else size


def _aggregate(node: ops.Aggregate, below: Reach) -> Reach:
    nested = _through([*node.groups.values()], below)
    same = {name: value.name for name, value in node.groups.items() if isinstance(value, ops.Field)}
    ahead = nested.looks_ahead
    if not any(_is_of_time(value, below.times) for value in node.groups.values()):
        by = ", ".join(node.groups)
        ahead += (f"the aggregate {f'by {by}' if by else 'over everything'} takes in rows of all times",)
    times = {name for name, value in node.groups.items() if _is_of_time(value, below.times)} | _times_of(node.schema)
    kept = _kept(nested, same)
    return replace(
        kept, times=frozenset(times), unique=(frozenset(node.groups),), looks_ahead=tuple(ahead), multiplies=()
    )


def _union(left: Reach, right: Reach) -> Reach:
    paths = [
        Path({**one.read, **other.read}, one.columns & other.columns)
        for one in left.paths
        for other in right.paths
        if one.columns & other.columns and _agree(one.read, other.read)
    ]
    return Reach(
        tuple(paths),
        left.times | right.times,
        (),
        _join_texts((left.looks_ahead, right.looks_ahead)),
        _join_texts((left.multiplies, right.multiplies)),
    )


def _join(node: ops.JoinChain, reaches: Sequence[Reach]) -> Reach:
    known = dict(zip(node.tables, reaches, strict=True))
    first = known[node.first]
    paths = [(path.read, {(node.first, name) for name in path.columns}) for path in first.paths]
    multiplies = [text for one in reaches for text in one.multiplies]
    unique = True
    for link in node.rest:
        right = known[link.table]
        pairs = [pair for test in link.predicates if (pair := _equal(test, link.table)) is not None]
        paths = [made for left in paths for path in right.paths if (made := _both(left, path, pairs, link))]
        timed = any(_is_of_time_across(test, known) for test in link.predicates)
        named = {name for _, (_, name) in pairs}
        if link.how in ("semi", "anti", "asof") or link.how.startswith("any"):
            continue
        if not any(one <= named for one in right.unique):
            unique = False
            if not timed:
                on = ", ".join(sorted(named)) or "nothing"
                multiplies.append(
                    f"the join to '{_name(link.table)}' on {on} may match several of its rows, of any time"
                )
    same = {name: (value.rel, value.name) for name, value in node.values.items() if isinstance(value, ops.Field)}
    kept = []
    for read, columns in paths:
        names = frozenset(name for name, place in same.items() if place in columns)
        if names:
            kept.append(Path(read, names))
    of_first = {column: name for name, (table, column) in same.items() if table == node.first}
    keys = [frozenset(of_first[name] for name in one) for one in first.unique if one <= of_first.keys()]
    times = {name for name, (table, column) in same.items() if column in known[table].times} | _times_of(node.schema)
    ahead = _join_texts(one.looks_ahead for one in reaches)
    return Reach(tuple(kept), frozenset(times), tuple(keys) if unique else (), ahead, tuple(multiplies))


def _equal(test: ops.Node, right: ops.Relation) -> tuple[_Column, _Column] | None:
    """Return (a column before the join, the joined table's column) where a condition equates two."""
    if (
        not isinstance(test, ops.Equals)
        or not isinstance(test.left, ops.Field)
        or not isinstance(test.right, ops.Field)
    ):
        return None
    one, other = test.left, test.right
    if one.rel == right:
        one, other = other, one
    if one.rel == right or other.rel != right:
        return None
    return (one.rel, one.name), (other.rel, other.name)


def _both(
    left: tuple[Mapping[str, str], set[_Column]],
    path: Path,
    pairs: Sequence[tuple[_Column, _Column]],
    link: ops.JoinLink,
) -> tuple[Mapping[str, str], set[_Column]] | None:
    read, columns = left
    own = {(link.table, name) for name in path.columns}
    if not any(one in columns and other in own for one, other in pairs) or not _agree(read, path.read):
        return None
    both = {**read, **path.read}
    match link.how:
        case "inner" | "any_inner":
            return both, columns | own
        case "left" | "any_left" | "asof" | "semi" | "anti":  # the right side's key is missing where nothing matched
            return both, columns
        case "right":
            return both, own
        case _:
            return None


def _agree(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return all(other.get(table, column) == column for table, column in one.items())


def _is_of_time(value: ops.Node, times: frozenset[str]) -> bool:
    """Say whether a value is a time, or made of one."""
    if isinstance(value, ops.Value) and (value.dtype.is_timestamp() or value.dtype.is_date()):
        return not isinstance(value, ops.Literal)
    if isinstance(value, ops.Field):
        return value.name in times
    if isinstance(value, ops.WindowFunction):
        return _is_of_time(value.func, times)
    return any(_is_of_time(child, times) for child in value.__children__ if not isinstance(child, ops.Relation))


def _is_of_time_across(value: ops.Node, known: Mapping[ops.Node, Reach]) -> bool:
    if isinstance(value, ops.Field):
        return value.rel in known and (value.name in known[value.rel].times)
    return any(_is_of_time_across(child, known) for child in value.__children__ if not isinstance(child, ops.Relation))


def _times_of(schema: ibis.Schema) -> frozenset[str]:
    return frozenset(name for name, kind in schema.items() if kind.is_timestamp() or kind.is_date())


def _join_texts(texts: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for one in texts for text in one))


def _name(node: ops.Node) -> str:
    if isinstance(node, ops.Field):
        return str(node.name)
    while isinstance(node, ops.JoinReference | ops.SelfReference | ops.Sort | ops.Filter | ops.Project | ops.Aggregate):
        node = node.parent
    if isinstance(node, ops.DatabaseTable | ops.UnboundTable):
        return str(node.name).removeprefix("view ")
    return type(node).__name__.lower()
