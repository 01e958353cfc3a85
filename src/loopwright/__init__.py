"""Loopwright: the closed loop of machine learning in one package.

A project is one file with seven declarations, in the order in which data flows::

    import loopwright as lw

    loop = lw.Loop("deliveries")
    orders = loop.dataset(...)  # 1 data collection
    loop.features(...)  # 2 feature engineering
    loop.model(...)  # 3 training and evaluation
    loop.deploy(...)  # 4 deployment
    loop.monitor(...)  # 5 monitoring
    loop.retrain(...)  # 6 the way back
    loop.workload(...)  # 7 the demand, for the plan

The words: a **dataset** is a named, versioned table with a source and a **contract**; rows that break it go to the
**quarantine**; a **snapshot** is one version of it. A **feature view** makes features from datasets, keyed by entity
and event time. A **training set** joins features and **labels** as known at each example's moment, and seals a
**holdout**. A **run** trains; a **model version** is what it registers; a **verdict** is what the gates say of it. An
**alias** such as ``champion`` names a version; a **release** rolls one out. A **prediction** is one answered row, an
**outcome** its label when that arrives, a **signal** what monitoring saw, a **decision** what the policy concludes, and
a **turn** one time round the loop.

Names are bound when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
import sys

from loopwright.core.version import __version__

TYPE_CHECKING = False  # what type checkers take for true; importing typing for it would double the cost of this file
if TYPE_CHECKING:
    from loopwright.data.contract.check import expect, fresh, row_count, unique
    from loopwright.data.contract.column import column
    from loopwright.data.contract.contract import Contract
    from loopwright.data.contract.expected import distribution, volume
    from loopwright.data.contract.expression import all_different, all_equal, among_together, compare, sums_to
    from loopwright.data.contract.header import column_count, column_names
    from loopwright.data.contract.series import decreasing, increasing, outliers, references
    from loopwright.data.contract.statistic import distinct_values, most_common, statistic
    from loopwright.data.quality.check_table import check_table
    from loopwright.data.quality.imports.import_contract import import_contract
    from loopwright.data.sources.delta import delta
    from loopwright.data.sources.files import files
    from loopwright.data.sources.frame import frame
    from loopwright.data.sources.http import http
    from loopwright.data.sources.kafka import kafka
    from loopwright.data.sources.kinesis import kinesis
    from loopwright.data.sources.mongo import mongo
    from loopwright.data.sources.push import push
    from loopwright.data.sources.sql import sql
    from loopwright.data.sources.stream import events
    from loopwright.evaluation.gate import at_least, at_most, beats_champion, every_slice, no_worse_than_champion
    from loopwright.features.examples import TrainingSet
    from loopwright.features.label import label
    from loopwright.features.split import entities, fraction, latest
    from loopwright.loop.project import Loop
    from loopwright.loop.triggers import drift_seen, loss_above_reference, new_rows, schedule
    from loopwright.monitoring.watch import kpi
    from loopwright.serving.deploy import online
    from loopwright.serving.scoring.declaration import batch
    from loopwright.serving.stream.declaration import stream
    from loopwright.training.active import log_artifact, log_metric, log_param
    from loopwright.training.params import Params
    from loopwright.training.search import choice, integer, search, uniform
    from loopwright.workspace import Workspace

_HOMES = {
    "loopwright.data.contract.check": ("expect", "fresh", "row_count", "unique"),
    "loopwright.data.contract.column": ("column",),
    "loopwright.data.contract.contract": ("Contract",),
    "loopwright.data.contract.expected": ("distribution", "volume"),
    "loopwright.data.contract.expression": ("all_different", "all_equal", "among_together", "compare", "sums_to"),
    "loopwright.data.contract.header": ("column_count", "column_names"),
    "loopwright.data.contract.series": ("decreasing", "increasing", "outliers", "references"),
    "loopwright.data.contract.statistic": ("distinct_values", "most_common", "statistic"),
    "loopwright.data.sources.delta": ("delta",),
    "loopwright.data.quality.check_table": ("check_table",),
    "loopwright.data.quality.imports.import_contract": ("import_contract",),
    "loopwright.data.sources.files": ("files",),
    "loopwright.data.sources.frame": ("frame",),
    "loopwright.data.sources.kafka": ("kafka",),
    "loopwright.data.sources.kinesis": ("kinesis",),
    "loopwright.data.sources.http": ("http",),
    "loopwright.data.sources.mongo": ("mongo",),
    "loopwright.data.sources.push": ("push",),
    "loopwright.data.sources.sql": ("sql",),
    "loopwright.data.sources.stream": ("events",),
    "loopwright.evaluation.gate": ("at_least", "at_most", "beats_champion", "every_slice", "no_worse_than_champion"),
    "loopwright.features.examples": ("TrainingSet",),
    "loopwright.features.label": ("label",),
    "loopwright.features.split": ("entities", "fraction", "latest"),
    "loopwright.loop.project": ("Loop",),
    "loopwright.loop.triggers": ("drift_seen", "loss_above_reference", "new_rows", "schedule"),
    "loopwright.monitoring.watch": ("kpi",),
    "loopwright.serving.deploy": ("online",),
    "loopwright.serving.scoring.declaration": ("batch",),
    "loopwright.serving.stream.declaration": ("stream",),
    "loopwright.training.active": ("log_artifact", "log_metric", "log_param"),
    "loopwright.training.params": ("Params",),
    "loopwright.training.search": ("choice", "integer", "search", "uniform"),
    "loopwright.workspace": ("Workspace",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Contract",
    "Loop",
    "Params",
    "TrainingSet",
    "Workspace",
    "__version__",
    "all_different",
    "all_equal",
    "among_together",
    "at_least",
    "at_most",
    "batch",
    "beats_champion",
    "check_table",
    "choice",
    "column",
    "column_count",
    "column_names",
    "compare",
    "decreasing",
    "delta",
    "distinct_values",
    "distribution",
    "drift_seen",
    "entities",
    "events",
    "every_slice",
    "expect",
    "files",
    "fraction",
    "frame",
    "fresh",
    "http",
    "import_contract",
    "increasing",
    "integer",
    "kafka",
    "kinesis",
    "kpi",
    "label",
    "latest",
    "log_artifact",
    "log_metric",
    "log_param",
    "loss_above_reference",
    "mongo",
    "most_common",
    "new_rows",
    "no_worse_than_champion",
    "online",
    "outliers",
    "push",
    "references",
    "row_count",
    "schedule",
    "search",
    "sql",
    "statistic",
    "stream",
    "sums_to",
    "uniform",
    "unique",
    "volume",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'loopwright' has no attribute {name!r}", name=name, obj=sys.modules[__name__])
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
