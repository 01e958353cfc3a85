"""The steps of a turn for one model: training set → train → register → reference → evaluate → release."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.core.durations import parse_duration
from loopwright.core.errors import SourceError, UnknownNameError
from loopwright.core.hashing import digest_function, digest_json
from loopwright.evaluation.gate import EverySlice
from loopwright.evaluation.metrics import metric
from loopwright.evaluation.outputs import Outputs
from loopwright.features.assembly import assembly_to_bytes
from loopwright.features.definition import definition_to_bytes
from loopwright.features.training_set import find_record
from loopwright.features.training_spec import training_set_spec
from loopwright.loop.declared import memory_bytes
from loopwright.loop.judging import judge_candidate
from loopwright.loop.release_step import release
from loopwright.registry.candidate import Candidate
from loopwright.training.environment import installed_packages
from loopwright.training.job import TrainingJob
from loopwright.training.process import Limits
from loopwright.training.search import SearchObjective

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from loopwright.data.versions.snapshot import Snapshot
    from loopwright.features.label import Label
    from loopwright.features.training_set import TrainingSetRecord
    from loopwright.features.view import FeatureView
    from loopwright.loop.model import ModelDeclaration
    from loopwright.loop.step import Report, StepRunner
    from loopwright.loop.turn_log import Output
    from loopwright.training.recorder import RunProgress
    from loopwright.training.search import ValidationOutputs
    from loopwright.workspace import Workspace


_GOLDEN_FROM = 4096  # rows of the training part that the golden rows are chosen from


class ModelSteps:
    """Takes one model round.

    Args:
        workspace: The rooms.
        steps: Runs what is not done yet.
        model: The declaration.
        snapshots: Of each dataset, the version that this turn sees.
        labels: Those of all models, whose columns are known late.
    """

    def __init__(
        self,
        workspace: Workspace,
        steps: StepRunner,
        model: ModelDeclaration,
        snapshots: Mapping[str, Snapshot],
        labels: Sequence[Label] = (),
    ) -> None:
        self._workspace = workspace
        self._steps = steps
        self._model = model
        self._snapshots = snapshots
        others = tuple(label for label in labels if label != model.label)
        self._spec = training_set_spec(
            model.name, label=model.label, features=model.features, holdout=model.holdout, other_labels=others
        )

    def run(self) -> Output:
        """Run the steps and return what became of the model."""
        model = self._model
        missing = [name for name in self._spec.datasets if name not in self._snapshots]
        if missing:
            raise SourceError(
                f"The model '{model.name}' needs the dataset '{missing[0]}', which has no rows yet.",
                hint=f"Check its source, or run `loopwright data ingest {missing[0]}`.",
            )
        late = sorted([str(one.column), one.arrives_after.total_seconds()] for one in self._spec.late_labels)
        for view in self._spec.views:
            versions = {each.name: self._snapshots[each.name].version for each in view.datasets}
            key = digest_json([view.version, versions, late])
            self._steps.run(f"online {view.name}", partial(self._fill_online, view), key=key)
        built = self._steps.run(f"training set {model.name}", self._build)
        record = self._record(built)
        _check_slices(model, record)
        trained = self._steps.run(
            f"train {model.name}", lambda report: self._train(record, report), key=self._training_key(record)
        )
        registered = self._steps.run(
            f"register {model.name}",
            lambda _: self._register(record, trained),
            key=digest_json([trained["run_id"], record.digest]),
        )
        version = self._workspace.registry.get(model.name, int(str(registered["version"])))
        champion = self._workspace.aliases.current(model.name)
        rows = self._snapshots[model.label.dataset.name].rows
        outcome: Output = {"version": version.id, "run_id": trained["run_id"], "rows": rows}
        if champion == version.version:
            return outcome | {"promoted": None, "note": "is champion already"}
        judged = self._steps.run(
            f"evaluate {model.name}",
            lambda report: judge_candidate(self._workspace, model, record, version, champion, report),
            key=digest_json([version.id, champion, record.holdout_digest, [str(gate) for gate in model.gates]]),
        )
        outcome |= {"verdict": judged["verdict"], "verdict_id": judged["verdict_id"], "metrics": judged["metrics"]}
        if judged["verdict"] != "pass":
            return outcome | {"promoted": False}
        released = self._steps.run(
            f"release {model.name}",
            lambda _: release(self._workspace, model, version, champion, str(judged["verdict_id"])),
            key=digest_json([version.id, champion, judged["verdict_id"]]),
        )
        return outcome | {name: released[name] for name in ("promoted", "release")}

    def _fill_online(self, view: FeatureView, report_progress: Report) -> Output:
        del report_progress
        report = self._workspace.features.materialize(view, self._snapshots, labels=self._spec.late_labels)
        computed = f"{report.rows_computed:,} rows computed" if report.how != "nothing" else "nothing computed"
        return {"rows": report.rows_written, "summary": f"{report.rows_written:,} entities written, {computed}"}

    def _build(self, report: Report) -> Output:
        del report
        # Rows that this turn brought in are known by now, also where a row's moment is its arrival.
        as_of = max(self._steps.turn.started_at, *(snapshot.created_at for snapshot in self._snapshots.values()))
        record = self._workspace.features.training_set(self._spec, self._snapshots, as_of)
        return {
            "digest": record.digest,
            "rows_train": record.rows_train,
            "rows_holdout": record.rows_holdout,
            "warnings": list(record.warnings),
            "summary": f"{record.rows_train:,} rows to learn from, {record.rows_holdout:,} sealed",
        }

    def _record(self, built: Output) -> TrainingSetRecord:
        record = find_record(self._workspace.stores, str(built["digest"]))
        if record is None:
            raise SourceError(f"The training set {built['digest']} is gone from the facts.", hint="Run the turn again.")
        return record

    def _training_key(self, record: TrainingSetRecord) -> str:
        model = self._model
        return digest_json(
            [
                record.digest,
                digest_function(model.function),
                model.params,
                None if model.search is None else model.search.to_json(),
                model.metrics[0],
                model.seed,
                [sys.version, dict(installed_packages())],
            ]
        )

    def _train(self, record: TrainingSetRecord, report: Report) -> Output:
        model, settings = self._model, self._workspace.stores.settings
        time = model.time or parse_duration(settings.training_time)
        job = TrainingJob(
            model=model.name,
            function=model.function,
            training_set=record,
            params=model.params,
            search=model.search,
            objective=None if model.search is None else _objective(model.metrics[0]),
            seed=model.seed,
            limits=Limits(memory_bytes(model.memory or settings.training_memory), time.total_seconds()),
            trust=model.trust_pickle,
            cause=self._steps.turn.cause.text,
        )

        def show(progress: RunProgress) -> None:
            report(progress.text, progress.fraction)

        result = self._workspace.training.train(job, show)
        return {
            "run_id": result.run_id,
            "model_file": result.model_file.to_json(),
            "params": dict(result.params),
            "metrics": dict(result.metrics),
            "seconds": result.seconds,
            "peak_memory_bytes": result.peak_memory_bytes,
            "summary": f"{result.model_file.estimator_class.rpartition('.')[2]} in {result.seconds:.1f} s, "
            f"{result.peak_memory_bytes / 1e6:.0f} MB at most",
        }

    def _register(self, record: TrainingSetRecord, trained: Output) -> Output:
        run = self._workspace.runs.get(str(trained["run_id"]))
        if run.model_file is None:
            raise SourceError(f"The run {run.id} has no model file.", hint="Train again.")
        stores = self._workspace.stores
        path = stores.local / "fetched" / run.id / run.model_file.file_name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            stores.blobs.fetch(run.model_file.digest, path)
        version = self._workspace.registry.register(
            Candidate(
                model=self._model.name,
                run_id=run.id,
                model_file=run.model_file,
                model_path=path,
                fields=record.feature_fields,
                assembly=assembly_to_bytes(self._workspace.features.assembly(self._spec, record)),
                training_set=record.ref,
                training_rows=_first_rows(record, stores_path=record.train_path(stores)),
                metrics=run.metrics,
                parameters=run.params,
                description=self._model.description,
                definition=definition_to_bytes(self._spec),
            )
        )
        path.unlink(missing_ok=True)
        because = str(version.not_compiled_because).partition(";")[0]
        compiled = "compiled to ONNX" if version.compiled else f"native form only: {because}"
        return {"version": version.version, "id": version.id, "summary": f"{version.id}, {compiled}"}


def _check_slices(model: ModelDeclaration, record: TrainingSetRecord) -> None:
    """Refuse a slice of what is no feature before a training is spent on it."""
    names = [field.name for field in record.feature_fields]
    for gate in model.gates:
        if isinstance(gate, EverySlice) and gate.column not in names:
            raise UnknownNameError(
                "feature", gate.column, names, where=f"of '{model.name}' for every_slice to judge by"
            )


def _first_rows(record: TrainingSetRecord, *, stores_path: object) -> pa.Table:
    with pa.memory_map(str(stores_path)) as file:
        table = pa.ipc.open_file(file).read_all()
    step = max(1, record.rows_train // _GOLDEN_FROM)
    return table.take(list(range(0, table.num_rows, step))[:_GOLDEN_FROM])


def _objective(name: str) -> SearchObjective:
    chosen = metric(name)

    def score(y: NDArray[np.generic], outputs: ValidationOutputs) -> float:
        return metric(name).value(y, Outputs(outputs.kind, outputs.values, outputs.probabilities, outputs.classes))

    return SearchObjective(name, chosen.greater_is_better, score)
