"""The ways into a cluster: services, the Ingress or the route of a gateway, and who may speak with whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.planning.export.environment import GRPC_PORT, HTTP_PORT
from loopwright.planning.export.pods import labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.planning.export.blueprint import Blueprint
    from loopwright.planning.export.pods import Made

ANSWERED = ("/predict", "/v2", "/v1", "/invocations")
NOTED = ("/outcomes", "/ingest")
"""Go to the pod beside whose folder the event log lies."""
FRIEND = "loopwright/may-call"
_POSTGRES_PORT, _REDIS_PORT, _KAFKA_PORT = 5432, 6379, 9092


def service(blueprint: Blueprint, component: str) -> Made:
    """Return the service of a component that serves."""
    ports = [("http", HTTP_PORT, "http"), ("grpc", GRPC_PORT, "kubernetes.io/h2c")]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": component, "labels": labels(blueprint, component)},
        "spec": {
            "type": "ClusterIP",
            "selector": labels(blueprint, component),
            "ports": [
                {"name": name, "port": port, "targetPort": name, "appProtocol": protocol}
                for name, port, protocol in ports
            ],
        },
    }


def ingress(blueprint: Blueprint, host: str) -> Made:
    """Return the Ingress: what answers to the servers, what is noted to the controlling pod; nothing else is open.

    Args:
        blueprint: What is made.
        host: The name under which it is reached; empty for any, without encryption.
    """
    paths = [
        {
            "path": path,
            "pathType": "Prefix",
            "backend": {"service": {"name": "server" if path in ANSWERED else "control", "port": {"name": "http"}}},
        }
        for path in (*ANSWERED, *NOTED)
    ]
    rule: Made = {"http": {"paths": paths}}
    spec: Made = {"rules": [({"host": host} if host else {}) | rule]}
    if host:
        spec = {"tls": [{"hosts": [host], "secretName": f"{blueprint.name}-tls"}], **spec}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": blueprint.name, "labels": labels(blueprint, "server")},
        "spec": spec,
    }


def http_route(blueprint: Blueprint, host: str) -> Made:
    """Return the same for a gateway that is there already."""

    def rule(paths: Sequence[str], name: str) -> Made:
        matches = [{"path": {"type": "PathPrefix", "value": path}} for path in paths]
        return {"matches": matches, "backendRefs": [{"name": name, "port": HTTP_PORT}]}

    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": blueprint.name, "labels": labels(blueprint, "server")},
        "spec": {
            "parentRefs": [{"name": "gateway", "namespace": "gateway"}],
            **({"hostnames": [host]} if host else {}),
            "rules": [rule(ANSWERED, "server"), rule(NOTED, "control")],
        },
    }


def network_policies(blueprint: Blueprint) -> list[Made]:
    """Return who may speak with whom: nobody, but for what the parts need from each other.

    Callers are the pods of namespaces with the label ``loopwright/may-call: "true"``: that of the ingress controller or
    gateway, and that of Prometheus.
    """
    own = {"app.kubernetes.io/name": "loopwright", "app.kubernetes.io/instance": blueprint.name}
    ours = [{"podSelector": {"matchLabels": own}}]
    callers = [{"namespaceSelector": {"matchLabels": {FRIEND: "true"}}}, *ours]
    found = [_policy("deny-all", {}, {"policyTypes": ["Ingress", "Egress"]})]
    if blueprint.fleet is not None:
        for component in ("server", "control"):
            rule = {"from": callers, "ports": _ports(HTTP_PORT, GRPC_PORT)}
            found.append(
                _policy(component, labels(blueprint, component), {"policyTypes": ["Ingress"], "ingress": [rule]})
            )
    for component, port, is_there in (
        ("postgres", _POSTGRES_PORT, blueprint.database != "managed"),
        ("redis", _REDIS_PORT, blueprint.has_online_store),
    ):
        if is_there:
            rule = {"from": ours, "ports": _ports(port)}
            found.append(
                _policy(component, labels(blueprint, component), {"policyTypes": ["Ingress"], "ingress": [rule]})
            )
    names = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    outside = [443, *([_POSTGRES_PORT] if blueprint.database == "managed" else [])]
    outside += [_KAFKA_PORT] if blueprint.streams else []
    # 443 is the object storage; the cloud's metadata address gives pods their identity where there is no other way.
    away = [{"ports": _ports(*outside)}, {"to": [{"ipBlock": {"cidr": "169.254.169.254/32"}}], "ports": _ports(80)}]
    egress = [names, {"to": ours}, *away]
    return [*found, _policy("loopwright", own, {"policyTypes": ["Egress"], "egress": egress})]


def _policy(name: str, matched: dict[str, str], spec: Made) -> Made:
    selector = {"matchLabels": matched} if matched else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": selector, **spec},
    }


def _ports(*numbers: int) -> list[Made]:
    return [{"port": number, "protocol": "TCP"} for number in numbers]
