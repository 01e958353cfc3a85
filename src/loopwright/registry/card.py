"""The card of a model version: what it is, what it was made from, how well it does, and how to use it.

A card is put together from the facts when somebody asks for it, so it always shows the newest evaluation, verdict and
aliases. After M. Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loopwright.evaluation.records import EvaluationRecords
from loopwright.registry.alias import Aliases
from loopwright.registry.signature import describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loopwright.core.lineage import Edge
    from loopwright.core.storage.stores import Stores
    from loopwright.evaluation.evaluation import Evaluation
    from loopwright.evaluation.verdict import Verdict
    from loopwright.registry.version import ModelVersion

CONFIDENCE = 0.95
WORST_SLICES = 5


@dataclass(frozen=True)
class ModelCard:
    """Hold what is known of a version.

    Attributes:
        version: The version.
        aliases: The aliases that point to it now.
        evaluation: Its newest evaluation on a sealed holdout, if there is one.
        verdict: Its newest verdict, if there is one.
        lineage: The edges that lead to it, nearest first.
    """

    version: ModelVersion
    aliases: tuple[str, ...]
    evaluation: Evaluation | None
    verdict: Verdict | None
    lineage: tuple[Edge, ...]

    def to_json(self) -> dict[str, Any]:
        """Give the card as plain JSON values."""
        return {
            **self.version.to_json(),
            "aliases": list(self.aliases),
            "evaluation": None if self.evaluation is None else self.evaluation.to_json(),
            "verdict": None if self.verdict is None else self.verdict.to_json(),
            "lineage": [
                {"source": str(e.source), "target": str(e.target), "relation": e.relation, "depth": e.depth}
                for e in self.lineage
            ],
        }

    def markdown(self) -> str:
        """Give the card as a Markdown page."""
        version = self.version
        pointed = f" ({', '.join(self.aliases)})" if self.aliases else ""
        parts = [
            f"# {version.id}{pointed}",
            version.description or "No description was given.",
            version.notes,
            self._origin(),
            "## Input and output",
            _table(
                ("feature", "type", "from"),
                ((field.name, describe(field), field.source or field.origin) for field in version.signature.inputs),
            ),
            self._output(),
            "## How well it does",
            self._figures(),
            "## Verdict",
            self._verdict(),
            "## Forms",
            self._forms(),
            "## Made from",
            "\n".join(f"- `{e.target}` {e.relation} `{e.source}`" for e in self.lineage) or "Nothing is on record.",
            "## Parameters",
            _table(("parameter", "value"), version.parameters.items()) if version.parameters else "None were given.",
            "## How to load it",
            self._usage(),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _origin(self) -> str:
        version = self.version
        put_away = f", archived {version.archived_at:%Y-%m-%d}" if version.archived_at else ""
        registered = f"Registered {version.created_at:%Y-%m-%d %H:%M} UTC from run `{version.run_id}`{put_away}."
        return f"{registered} Estimator: `{version.model_file.estimator_class}`."

    def _usage(self) -> str:
        lines = (
            f"loaded = registry.load(registry.get({self.version.model!r}, {self.version.version}))",
            "outputs = loaded.predict(loaded.assembly.assemble(rows).columns)",
        )
        return "\n".join(("```python", *lines, "```"))

    def _output(self) -> str:
        output = self.version.signature.output
        if output.classes is None:
            return "It answers a number."
        shown = ", ".join(f"`{label}`" for label in output.classes[:20])
        more = f" and {len(output.classes) - 20} more" if len(output.classes) > 20 else ""
        return f"It answers one of {shown}{more}{', with probabilities' if output.probabilities else ''}."

    def _figures(self) -> str:
        said = []
        evaluation = self.evaluation
        if evaluation is None:
            said.append("It was not evaluated on a holdout yet.")
        else:
            rows = []
            for name, estimate in evaluation.metrics.items():
                interval = estimate.interval(CONFIDENCE)
                rows.append((name, f"{estimate.value:.4g}", f"{interval.low:.4g} to {interval.high:.4g}"))
            said.append(f"On {evaluation.rows:,} sealed rows (holdout `{evaluation.holdout[:12]}`):")
            said.append(_table(("metric", "value", f"{CONFIDENCE:.0%} interval"), rows))
            worst = sorted(
                (s for s in evaluation.slices if s.excess is not None and s.excess.value > 0),
                key=lambda s: s.excess.value if s.excess else 0.0,
                reverse=True,
            )[:WORST_SLICES]
            if worst:
                said.append("Where it does worst:")
                said.append(
                    _table(
                        ("slice", "rows", "metric", "worse by"),
                        (
                            (f"{s.column} = {s.label}", f"{s.rows:,}", s.metric, f"{s.excess.value:.0%}")
                            for s in worst
                            if s.excess is not None
                        ),
                    )
                )
        if self.version.metrics:
            said.append("Measured in training:")
            said.append(_table(("metric", "value"), ((n, f"{v:.4g}") for n, v in self.version.metrics.items())))
        return "\n\n".join(said)

    def _verdict(self) -> str:
        verdict = self.verdict
        if verdict is None:
            return "No verdict was reached yet."
        against = f", against {verdict.champion.removeprefix('model:')}" if verdict.champion else ""
        rows = ((rule.rule, rule.outcome.replace("_", " "), rule.reason) for rule in verdict.rules)
        table = _table(("rule", "outcome", "reason"), rows) if verdict.rules else "No gate was declared."
        return f"**{verdict.outcome.replace('_', ' ')}**{against}.\n\n{table}"

    def _forms(self) -> str:
        version = self.version
        file = version.model_file
        native = f"- native: {file.format}, {file.size_bytes:,} bytes, `{file.digest[:12]}`"
        compiled = version.compiled
        said = [native]
        if compiled is None:
            said.append(f"- compiled: none, because {version.not_compiled_because}")
        else:
            said.append(
                f"- compiled: ONNX, {compiled.size_bytes:,} bytes, `{compiled.digest[:12]}`; differs by at most "
                f"{compiled.largest_difference:.1g} on {compiled.rows_compared:,} rows"
            )
        if version.library is not None:
            said.append(
                f"- library: {version.library.library}'s shortest way; differs by at most "
                f"{version.library.largest_difference:.1g} on {version.library.rows_compared:,} rows"
            )
        if version.choice is not None and version.choice.times:
            said.append(f"- answers, by processor time on one thread: {version.choice}")
        return "\n".join(said)


def card_of(stores: Stores, version: ModelVersion) -> ModelCard:
    """Put together the card of a version from the facts."""
    records = EvaluationRecords(stores.facts)
    evaluations, verdicts = records.evaluations(version.ref), records.verdicts(version.ref)
    pointing = Aliases(stores).of_model(version.model)
    return ModelCard(
        version=version,
        aliases=tuple(alias for alias, number in pointing.items() if number == version.version),
        evaluation=evaluations[-1] if evaluations else None,
        verdict=verdicts[-1] if verdicts else None,
        lineage=tuple(stores.lineage.ancestors(version.ref)),
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
