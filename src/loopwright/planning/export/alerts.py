"""Prometheus rules on the server's own metrics: how fast the error budget burns, and when the plan no longer holds.

Sources: B. Beyer et al. (eds.), *The Site Reliability Workbook* (2018), chapter 5, "Alerting on SLOs", table 5-8: a
budget of a month that burns 14.4 times too fast over an hour (2 % of it gone), 6 times over six hours (5 %), 3 times
over a day (10 %) and at its own pace over three days (10 %), each with a short window that ends the alert.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.statistics.histogram import EDGES_MS
from loopwright.planning.export.artefact import Artefact
from loopwright.planning.export.environment import HTTP_PORT
from loopwright.planning.export.yaml_text import yaml_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopwright.planning.export.blueprint import Blueprint
    from loopwright.planning.export.fleet import Fleet

Rule = dict[str, object]

BURNS: tuple[tuple[float, str, str, str], ...] = (
    (14.4, "1h", "5m", "page"),
    (6.0, "6h", "30m", "page"),
    (3.0, "1d", "2h", "ticket"),
    (1.0, "3d", "6h", "ticket"),
)
_WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
_FAILED = 'code=~"5..|429"'
_ANSWERS = 'model!="",route!="shadow"'


def latency_edge_s(fleet: Fleet) -> float:
    """Return the server's bucket edge that stands for the limit: the highest that is not above it, the way left out.

    An answer between that edge and the limit counts as slow, so that the alert is early by up to a quarter octave.
    """
    room = fleet.limit_s - fleet.network_s
    return max((edge / 1000 for edge in EDGES_MS if edge / 1000 <= room), default=EDGES_MS[0] / 1000)


def rule_groups(blueprint: Blueprint) -> list[Rule]:
    """Return the groups of rules; only those about logging and work where nobody asks over the network."""
    groups: list[Rule] = [{"name": "loopwright.health", "rules": list(_health())}]
    if blueprint.fleet is not None:
        groups.insert(0, {"name": "loopwright.objectives", "rules": list(_objectives(blueprint, blueprint.fleet))})
        groups.append({"name": "loopwright.plan", "rules": list(_plan(blueprint.fleet))})
    return groups


def rules(blueprint: Blueprint) -> Artefact:
    """Return the rules as a file of Prometheus."""
    comment = f"Rules for {blueprint.name}, from its plan; check them with: promtool check rules rules.yaml"
    return Artefact("prometheus/rules.yaml", yaml_text({"groups": rule_groups(blueprint)}, comment=comment))


def scraping(blueprint: Blueprint, host: str) -> Artefact:
    """Return Prometheus' own configuration for servers that one name resolves to, which ask for a token.

    Args:
        blueprint: What is made.
        host: The name, with one address for each server.
    """
    config = {
        "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {
                "job_name": blueprint.name,
                "authorization": {"credentials_file": "/run/secrets/serving_token"},
                "dns_sd_configs": [{"names": [host], "type": "A", "port": HTTP_PORT, "refresh_interval": "10s"}],
            }
        ],
    }
    return Artefact("prometheus/prometheus.yml", yaml_text(config))


def _objectives(blueprint: Blueprint, fleet: Fleet) -> Iterator[Rule]:
    edge = f"{latency_edge_s(fleet):.6g}"
    for window in _WINDOWS:
        yield {
            "record": f"loopwright:failed:ratio_rate{window}",
            "expr": f'sum by (model) (rate(loopwright_requests_total{{model!="",{_FAILED}}}[{window}]))'
            f' / sum by (model) (rate(loopwright_requests_total{{model!=""}}[{window}]))',
        }
        yield {
            "record": f"loopwright:slow:ratio_rate{window}",
            "expr": f'1 - sum by (model) (rate(loopwright_request_seconds_bucket{{{_ANSWERS},le="{edge}"}}[{window}]))'
            f" / sum by (model) (rate(loopwright_request_seconds_count{{{_ANSWERS}}}[{window}]))",
        }
    objectives = (
        ("failed", 1 - blueprint.availability, "LoopwrightErrorBudgetBurn", "requests fail"),
        ("slow", 1 - fleet.percentile, "LoopwrightLatencyBudgetBurn", f"answers take longer than {edge} s"),
    )
    for name, budget, alert, said in objectives:
        for factor, long, short, severity in BURNS:
            if factor * budget >= 1:  # so much cannot fail; a slower burn tells
                continue
            bound = f"{factor * budget:.6g}"
            yield {
                "alert": alert,
                "expr": " and ".join(f"loopwright:{name}:ratio_rate{window} > {bound}" for window in (long, short)),
                "labels": {"severity": severity, "window": long},
                "annotations": {
                    "summary": f"{{{{ $value | humanizePercentage }}}} of {{{{ $labels.model }}}}'s {said}",
                    "description": f"The plan allows {budget:.3%} in a month; over {long} it is {factor:g} times that.",
                },
            }


def _health() -> Iterator[Rule]:
    yield _alert(
        "LoopwrightNotReady", "min(loopwright_ready) == 0", "5m", "ticket", "a server has been up without being ready"
    )
    yield _alert("LoopwrightAbsent", "absent(loopwright_ready)", "2m", "page", "no server is being watched")
    yield _alert(
        "LoopwrightLogDropsRows", "sum by (model) (increase(loopwright_log_rows_dropped_total[10m])) > 0", "0s", "page",
        "answers left without a record of them",
    )  # fmt: skip
    yield _alert(
        "LoopwrightLogIsSlow",
        "max by (model) (loopwright_log_slow) == 1",
        "10m",
        "ticket",
        "the disk of the log is slow",
    )
    yield _alert(
        "LoopwrightModelRefused", "sum by (model) (increase(loopwright_model_load_failures_total[10m])) > 0", "0s",
        "ticket", "a version could not be loaded",
    )  # fmt: skip
    yield _alert(
        "LoopwrightLoopLate",
        "max by (instance) (loopwright_loop_lag_seconds) > 0.25",
        "5m",
        "ticket",
        "a server has no time for its connections",
    )


def _plan(fleet: Fleet) -> Iterator[Rule]:
    rate = 'sum(rate(loopwright_requests_total{model!=""}[5m]))'
    yield _alert(
        "LoopwrightPlanOutgrown", f"{rate} > {fleet.sized_rps:.6g}", "10m", "ticket",
        f"more comes than the {fleet.sized_rps:g} requests/s that were planned for; plan again",
    )  # fmt: skip
    busy = f"sum(loopwright_inflight) / {fleet.max_replicas}"
    yield _alert(
        "LoopwrightAtUpperBound", f"{busy} > {fleet.target_in_flight:.6g}", "15m", "ticket",
        f"all {fleet.max_replicas} planned workers would be busier than planned",
    )  # fmt: skip
    yield _alert(
        "LoopwrightSheds", "sum by (model) (rate(loopwright_shed_total[5m])) > 0", "10m", "ticket",
        "requests are being turned away to protect the others",
    )  # fmt: skip


def _alert(name: str, expr: str, held: str, severity: str, said: str) -> Rule:
    found: Rule = {"alert": name, "expr": expr}
    if held != "0s":
        found["for"] = held
    return found | {"labels": {"severity": severity}, "annotations": {"summary": said[0].upper() + said[1:]}}
