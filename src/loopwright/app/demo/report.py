"""What the demonstration found, in numbers for machines."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class DemoReport:
    """The numbers of one demonstration; the same for the same seed, apart from ids, times and the folder.

    Attributes:
        seed: The seed of camera, ids and traffic.
        seconds_total: From the first file to the last answer.
        rows_ingested: Rows that reached the dataset.
        rows_quarantined: Rows that did not, each with its reason.
        accuracy: Share of right answers on live traffic ``before`` the camera changed, while ``drifted``, and ``after``
            the promotion.
        rows_until_signal: Answers after the change until realised loss raised a signal.
        requests: HTTP requests for predictions.
        requests_failed: Those that were not answered with status 200.
        champion: The version that answered ``before`` and ``after``.
        verdicts: Outcome and figures of each judged version.
        turns: Cause and outcome of each turn.
        drift_features: What the drift check named.
        why: From one prediction back to the raw file.
        folder: The project, left for looking at.
    """

    seed: int
    seconds_total: float = 0.0
    rows_ingested: int = 0
    rows_quarantined: int = 0
    accuracy: dict[str, float] = field(default_factory=dict)
    rows_until_signal: int = 0
    requests: int = 0
    requests_failed: int = 0
    champion: dict[str, str] = field(default_factory=dict)
    verdicts: list[dict[str, object]] = field(default_factory=list)
    turns: list[dict[str, object]] = field(default_factory=list)
    drift_features: list[str] = field(default_factory=list)
    why: list[str] = field(default_factory=list)
    folder: str = ""
