"""On-demand transforms: row-wise Python that is the same in training and at request time.

The function takes one array per input column and returns one array whose first axis is the rows. It is called in
batches of bounded size; image, audio and text inputs arrive as a list of ``bytes``. Nothing here imports NumPy: a
declaration is light.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from loopwright.core.errors import FeatureError
from loopwright.core.hashing import digest_function, digest_json, source_of
from loopwright.core.ref import Ref
from loopwright.data.dataset import ColumnRef, Columns, Dataset
from loopwright.features.view import first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BATCH_ROWS = 2048


@dataclass(frozen=True, eq=False)
class OnDemand:
    """A named function of columns that runs wherever a row is: in the training set and in the server.

    Attributes:
        name: Unique in a project; the name of the feature it makes.
        inputs: The columns, in the order of the function's arguments.
        function: ``f(*arrays) -> array`` of shape ``(n,)`` or ``(n, …)``, numbers, booleans or (1-D only) strings.
        batch_rows: The most rows per call.
        description: The first line of the function's docstring, unless given.
    """

    name: str
    inputs: tuple[ColumnRef, ...]
    function: Callable[..., object] = field(repr=False)
    batch_rows: int = BATCH_ROWS
    description: str = ""

    @cached_property
    def version(self) -> str:
        """A digest of what the transform computes: 16 hexadecimal digits."""
        names = [[ref.dataset.name, ref.name] for ref in self.inputs]
        return digest_json([self.name, names, digest_function(self.function)])[:16]

    @property
    def ref(self) -> Ref:
        """The transform's name in the lineage."""
        return Ref("transform", f"{self.name}@{self.version}")

    @property
    def source_code(self) -> str:
        """The function as its author wrote it."""
        return source_of(self.function)


def on_demand(
    function: Callable[..., object],
    *inputs: ColumnRef | Columns | Dataset,
    name: str | None = None,
    batch_rows: int = BATCH_ROWS,
    description: str | None = None,
) -> OnDemand:
    """Declare an on-demand transform; ``@loop.transform(...)`` is this as a decorator.

    Args:
        function: Arrays in, one array out; the rows are the first axis.
        inputs: Columns such as ``digits.image``, several such as ``digits["a", "b"]``, or a whole dataset (its declared
            columns without key and event time).
        name: By default the function's name.
        batch_rows: The most rows per call.
        description: By default the first line of the function's docstring.

    Raises:
        FeatureError: If there is no input, the inputs are of several datasets, or the batch size is not positive.
    """
    chosen = name or getattr(function, "__name__", "") or "transform"
    refs = expand_columns(inputs)
    if not refs:
        raise FeatureError(
            f"The transform '{chosen}' has no input.", hint="Name its columns: @loop.transform(digits.image)."
        )
    datasets = {ref.dataset.name for ref in refs}
    if len(datasets) > 1:
        raise FeatureError(
            f"The transform '{chosen}' reads columns of several datasets: {', '.join(sorted(datasets))}.",
            hint="Join them in a feature view (@loop.features) first.",
        )
    if batch_rows < 1:
        raise FeatureError(f"The transform '{chosen}' has batch_rows={batch_rows}; it must be at least 1.")
    return OnDemand(chosen, refs, function, batch_rows, description or first_line(function))


def expand_columns(inputs: Iterable[ColumnRef | Columns | Dataset]) -> tuple[ColumnRef, ...]:
    """Return single columns for columns, groups of columns and whole datasets.

    A dataset stands for its declared columns, without its key and its times.

    Raises:
        FeatureError: If one of them is something else, or a dataset declares no column.
    """
    refs: list[ColumnRef] = []
    for item in inputs:
        if isinstance(item, ColumnRef):
            refs.append(item)
        elif isinstance(item, Columns):
            refs.extend(item.refs)
        elif isinstance(item, Dataset):
            left_out = {*item.key, item.event_time, item.arrival_time}
            declared = [item[column.name] for column in item.contract.columns if column.name not in left_out]
            if not declared:
                raise FeatureError(
                    f"The dataset '{item.name}' declares no column that could be an input.",
                    hint=f"Name the columns: {item.name}['a', 'b'].",
                )
            refs.extend(declared)
        else:
            raise FeatureError(
                f"An input of a transform must be a column of a dataset, got {type(item).__name__} {item!r}.",
                hint="Write it as digits.image or digits['image'].",
            )
    return tuple(refs)
