"""What has been answered so far, as the protocol's extension "statistics" says it: read from the server's metrics.

The numbers are those of all processes of a server since it began, without copies for a shadow. Durations are from
acceptance to the logged answer. What is not measured (the parts of a duration) is not there.

Source: the extension "statistics" of Triton's protocol documentation (``extension_statistics.md``).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Sequence

_COUNTED = {
    "loopwright_requests_total": "count",
    "loopwright_rows_total": "rows",
    "loopwright_busy_seconds_total": "seconds",
}


def model_statistics(served: Sequence[tuple[str, str]], exposition: bytes) -> dict[str, object]:
    """Return the statistics of versions.

    Args:
        served: Names of models with the numbers of their versions.
        exposition: The server's metrics in Prometheus' text format.

    >>> text = b'loopwright_requests_total{model="m",version="1",code="200",route="champion"} 2.0'
    >>> model_statistics([("m", "1")], text)["model_stats"][0]["inference_stats"]["success"]
    {'count': 2, 'ns': 0}
    """
    sums: defaultdict[tuple[str, str, bool, str], float] = defaultdict(float)
    for family in text_string_to_metric_families(exposition.decode()):
        for sample in family.samples:
            what, labels = _COUNTED.get(sample.name), sample.labels
            if what is not None and labels.get("version") and labels.get("route") != "shadow":
                sums[labels["model"], labels["version"], labels["code"] == "200", what] += sample.value

    def taken(model: str, version: str, *, well: bool) -> dict[str, int]:
        ns = round(sums[model, version, well, "seconds"] * 1e9)
        return {"count": round(sums[model, version, well, "count"]), "ns": ns}

    return {
        "model_stats": [
            {
                "name": model,
                "version": version,
                "inference_count": round(sums[model, version, True, "rows"]),
                "inference_stats": {
                    "success": taken(model, version, well=True),
                    "fail": taken(model, version, well=False),
                },
            }
            for model, version in served
        ]
    }
