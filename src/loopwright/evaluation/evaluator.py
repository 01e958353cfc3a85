"""The evaluator: measures a model on the sealed holdout, compares it with the champion, and records the verdict.

Everything it does is a fact with an id, written in one transaction with its ledger rows; asked the same question
again, after a crash or not, it gives the recorded answer and reads nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from loopwright.core.errors import DeclarationError
from loopwright.core.hashing import digest_json
from loopwright.core.ref import Ref
from loopwright.evaluation.compare import Comparison, compare
from loopwright.evaluation.estimate import Estimate, rate_estimate
from loopwright.evaluation.evaluation import Evaluation
from loopwright.evaluation.gate import BeatsChampion, EverySlice, Gate, NoWorseThanChampion, gate_to_json
from loopwright.evaluation.judge import judge
from loopwright.evaluation.ledger import DEFAULT_BUDGET, HoldoutLedger
from loopwright.evaluation.loss import reference_loss, row_losses
from loopwright.evaluation.metrics import Metric, metric
from loopwright.evaluation.outputs_file import outputs_from_bytes, outputs_to_bytes
from loopwright.evaluation.records import EvaluationRecords
from loopwright.evaluation.resampling import DEFAULT_RESAMPLES, paired_draws
from loopwright.evaluation.slices import SliceResult, evaluate_slices
from loopwright.evaluation.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from loopwright.core.storage.stores import Stores
    from loopwright.evaluation.holdout import Holdout
    from loopwright.evaluation.outputs import Outputs
    from loopwright.features.columns import ModelInput

Predict: TypeAlias = "Callable[[ModelInput], Outputs]"


@dataclass(frozen=True, eq=False)
class EvaluationRequest:
    """Ask for the figures of one model on one holdout.

    Attributes:
        subject: The model.
        holdout: The rows.
        predict: Called once with the holdout's features.
        metrics: Names of metrics; those of the gates are added.
        slices: Columns to slice the metrics by; those of the gates are added.
        gates: The rules that a verdict will apply.
        seed: Of the resamples.
        reader: Who asks, for the ledger.
        cluster: A column whose equal values mark rows that depend on each other (a courier, a day); resamples then
            draw whole clusters.
    """

    subject: Ref
    holdout: Holdout
    predict: Predict
    metrics: Sequence[str]
    slices: Sequence[str] = ()
    gates: Sequence[Gate] = ()
    seed: int = 0
    reader: str = "turn"
    cluster: str | None = None

    def metric_names(self) -> list[str]:
        """Give the metrics asked for and those of the gates, each once, by their first names."""
        names = [metric(name).name for name in (*self.metrics, *(gate.metric for gate in self.gates))]
        return list(dict.fromkeys(names))

    def slice_pairs(self) -> list[tuple[str, str, int]]:
        """Give (column, metric, least rows) of every slicing asked for and of the gates, each once."""
        names = [metric(name).name for name in self.metrics]
        pairs = {(column, name): 2 for column in self.slices for name in names}
        for gate in self.gates:
            if isinstance(gate, EverySlice):
                pairs.setdefault((gate.column, gate.metric), gate.min_rows)
        return [(column, name, rows) for (column, name), rows in pairs.items()]


class Evaluator:
    """Evaluate, compare and judge; see the module.

    Args:
        stores: Where facts and answers are kept.
        budget: Informative answers that one holdout may give.
        resamples: Bootstrap resamples per interval.
    """

    def __init__(self, stores: Stores, *, budget: int = DEFAULT_BUDGET, resamples: int = DEFAULT_RESAMPLES) -> None:
        self._stores = stores
        self._resamples = resamples
        self.ledger = HoldoutLedger(stores, budget=budget)
        self.records = EvaluationRecords(stores.facts)

    def evaluate(self, request: EvaluationRequest) -> Evaluation:
        """Measure a model on a holdout.

        Raises:
            BudgetSpentError: When the holdout is retired.
            DeclarationError: When a metric does not apply, a column is missing, or the model answers another number
                of rows than it was given.
        """
        names, pairs = request.metric_names(), request.slice_pairs()
        if not names:
            raise DeclarationError("an evaluation needs at least one metric", hint='Declare metrics=["mae"], say.')
        question = digest_json(
            [str(request.subject), request.holdout.digest, names, pairs, request.seed, request.cluster, self._resamples]
        )
        recorded = self.records.evaluation(question)
        if recorded is not None:
            return recorded
        self._check_open(request, names)
        outputs = request.predict(request.holdout.X)
        if len(outputs) != len(request.holdout):
            raise DeclarationError(
                f"{request.subject} answered {len(outputs)} rows for a holdout of {len(request.holdout)}"
            )
        y, clusters = request.holdout.y, _clusters(request)
        metrics = [metric(name) for name in names]
        estimates = self._estimates(metrics, y, outputs, seed=request.seed, clusters=clusters)
        slices = self._slices(request, pairs, outputs, clusters)
        losses = row_losses(outputs.kind, outputs.values.tolist(), y.tolist())
        reference = reference_loss(outputs.kind, losses, seed=request.seed)
        kept = self._stores.blobs.put(outputs_to_bytes(outputs))
        now = self._stores.clock.now()
        with self._stores.facts.write() as connection:
            recorded = self.records.evaluation(question, connection=connection)
            if recorded is not None:  # another process was quicker
                return recorded
            released = {
                bound.name: self.ledger.record(
                    request.holdout.digest,
                    bound,
                    request.subject,
                    reader=request.reader,
                    estimate=estimates[bound.name],
                    losses=bound.losses(y, outputs),
                    connection=connection,
                ).released
                for bound in metrics
            }
            evaluation = Evaluation(
                id=self._stores.ids.new(),
                subject=str(request.subject),
                holdout=request.holdout.digest,
                kind=outputs.kind,
                rows=len(outputs),
                metrics=estimates,
                released=released,
                slices=slices,
                reference=reference,
                outputs=kept,
                seed=request.seed,
            )
            self.records.add_evaluation(evaluation, question=question, created_at=now, connection=connection)
            source = Ref("holdout", request.holdout.digest)
            self._stores.lineage.link(request.subject, _ref(evaluation), "evaluated", connection=connection)
            self._stores.lineage.link(source, _ref(evaluation), "judged_on", connection=connection)
        return evaluation

    def compare(
        self,
        challenger: Evaluation,
        champion: Evaluation,
        holdout: Holdout,
        metrics: Sequence[str],
        *,
        cluster: str | None = None,
    ) -> dict[str, Comparison]:
        """Compare two evaluated models on the same rows, by metric; neither model is asked again.

        Raises:
            DeclarationError: When the evaluations are of different holdouts.
        """
        if not challenger.holdout == champion.holdout == holdout.digest:
            raise DeclarationError(
                f"{challenger.subject} and {champion.subject} were evaluated on different rows.",
                hint="Evaluate both on the holdout of the present training set.",
            )
        ours = outputs_from_bytes(self._stores.blobs.get(challenger.outputs))
        theirs = outputs_from_bytes(self._stores.blobs.get(champion.outputs))
        clusters = None if cluster is None else _labels(holdout.column(cluster))
        return {
            bound.name: compare(
                bound, holdout.y, ours, theirs, seed=challenger.seed, resamples=self._resamples, clusters=clusters
            )
            for bound in (metric(name) for name in metrics)
        }

    def verdict(
        self,
        gates: Sequence[Gate],
        challenger: Evaluation,
        champion: Evaluation | None,
        holdout: Holdout,
        *,
        cluster: str | None = None,
        unasked: str = "",
    ) -> Verdict:
        """Apply the gates to a challenger, and record the outcome.

        Args:
            gates: The rules, in order.
            challenger: Its evaluation, made with these gates in the request.
            champion: The evaluation of the model in service on the same holdout; None for a first model.
            holdout: The rows of both.
            cluster: As in the request.
            unasked: Why the model in service could not be asked about these rows; gates that compare with it then lack
                evidence.
        """
        asked_of = unasked or (None if champion is None else champion.id)
        question = digest_json([challenger.id, asked_of, [gate_to_json(gate) for gate in gates], cluster])
        recorded = self.records.verdict(question)
        if recorded is not None:
            return recorded
        missing = sorted({gate.metric for gate in gates} - set(challenger.metrics))
        if missing:
            raise DeclarationError(
                f"The evaluation of {challenger.subject} lacks {', '.join(missing)}, which a gate asks for.",
                hint="Give the gates to the evaluation request.",
            )
        comparisons = None
        if champion is not None:
            asked = [gate.metric for gate in gates if isinstance(gate, BeatsChampion | NoWorseThanChampion)]
            comparisons = self.compare(challenger, champion, holdout, list(dict.fromkeys(asked)), cluster=cluster)
        rules = tuple(judge(gate, challenger.metrics, challenger.slices, comparisons, unasked) for gate in gates)
        verdict = Verdict(
            id=self._stores.ids.new(),
            subject=challenger.subject,
            champion=None if champion is None else champion.subject,
            holdout=holdout.digest,
            rules=rules,
        )
        with self._stores.facts.write() as connection:
            recorded = self.records.verdict(question, connection=connection)
            if recorded is not None:  # another process was quicker
                return recorded
            self.records.add_verdict(
                verdict, question=question, created_at=self._stores.clock.now(), connection=connection
            )
            self._stores.lineage.link(_ref(challenger), Ref("verdict", verdict.id), "judged", connection=connection)
        return verdict

    def passing_verdict(self, subject: Ref, *, champion: Ref | None = None) -> Verdict | None:
        """Find the latest verdict about a subject, if it is a pass: what moving an alias asks for."""
        return self.records.passing_verdict(subject, champion=champion)

    def _check_open(self, request: EvaluationRequest, names: Sequence[str]) -> None:
        """Refuse a retired holdout before the model is asked, unless every answer was given already."""
        with self._stores.facts.read() as connection:
            known = [
                self.ledger.released(request.holdout.digest, name, request.subject, connection=connection)
                for name in names
            ]
            if any(read is None for read in known):
                self.ledger.check_budget(request.holdout.digest, connection=connection)

    def _estimates(
        self,
        metrics: Sequence[Metric],
        y: NDArray[np.generic],
        outputs: Outputs,
        *,
        seed: int,
        clusters: NDArray[np.generic] | None,
    ) -> dict[str, Estimate]:
        forms = [bound.form(y, outputs) for bound in metrics]
        draws = paired_draws([(form, None) for form in forms], seed=seed, resamples=self._resamples, clusters=clusters)
        estimates = {bound.name: drawn.estimate(rows=len(y)) for bound, drawn in zip(metrics, draws, strict=True)}
        if "accuracy" in estimates and clusters is None:
            estimates["accuracy"] = rate_estimate(round(estimates["accuracy"].value * len(y)), len(y))
        return estimates

    def _slices(
        self,
        request: EvaluationRequest,
        pairs: Sequence[tuple[str, str, int]],
        outputs: Outputs,
        clusters: NDArray[np.generic] | None,
    ) -> tuple[SliceResult, ...]:
        return tuple(
            result
            for column, name, min_rows in pairs
            for result in evaluate_slices(
                metric(name),
                request.holdout.y,
                outputs,
                column,
                request.holdout.column(column),
                seed=request.seed,
                resamples=self._resamples,
                min_rows=min_rows,
                clusters=clusters,
            )
        )


def _ref(evaluation: Evaluation) -> Ref:
    return Ref("evaluation", evaluation.id)


def _clusters(request: EvaluationRequest) -> NDArray[np.generic] | None:
    return None if request.cluster is None else _labels(request.holdout.column(request.cluster))


def _labels(values: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.array([str(value) for value in values.tolist()], dtype=np.str_)
