"""What has Prometheus see a cluster's servers: its operator's objects, and the rule of its metrics adapter.

Source: the API reference of prometheus-operator (monitoring.coreos.com/v1) and prometheus-adapter's documentation of
its configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.planning.export.alerts import rule_groups
from loopwright.planning.export.pods import labels
from loopwright.planning.export.scaling import METRIC

if TYPE_CHECKING:
    from loopwright.planning.export.blueprint import Blueprint
    from loopwright.planning.export.pods import Made


def service_monitor(blueprint: Blueprint) -> Made:
    """Return what is scraped: every server, with the token that it asks for."""
    own = labels(blueprint, "server")
    credentials = {"name": "loopwright", "key": "LOOPWRIGHT_SERVING_TOKEN"}
    chosen = {name: text for name, text in own.items() if name != "app.kubernetes.io/component"}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": {"name": "loopwright", "labels": own},
        "spec": {
            "selector": {
                "matchLabels": chosen,
                "matchExpressions": [
                    {"key": "app.kubernetes.io/component", "operator": "In", "values": ["server", "control"]}
                ],
            },
            "endpoints": [
                {
                    "port": "http",
                    "path": "/metrics",
                    "interval": "15s",
                    "scrapeTimeout": "5s",
                    "authorization": {"type": "Bearer", "credentials": credentials},
                }
            ],
        },
    }


def prometheus_rule(blueprint: Blueprint) -> Made:
    """Return the alert rules as the operator takes them."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "loopwright", "labels": labels(blueprint, "server")},
        "spec": {"groups": rule_groups(blueprint)},
    }


def adapter_values() -> Made:
    """Return the rule by which the metrics adapter answers the autoscaler, as values of its chart."""
    rule = {
        "seriesQuery": f'{METRIC}{{namespace!="",pod!=""}}',
        "resources": {"overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}},
        "name": {"matches": METRIC, "as": METRIC},
        "metricsQuery": "sum(avg_over_time(<<.Series>>{<<.LabelMatchers>>}[30s])) by (<<.GroupBy>>)",
    }
    return {"rules": {"default": False, "custom": [rule]}}
