"""What moving bytes costs: the load balancer, the way out of a private network, egress, and traffic between zones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from loopwright.core.errors import DeclarationError
from loopwright.planning.cost import GB, HOURS_PER_MONTH, SECONDS_PER_MONTH, CostLine, total
from loopwright.planning.option import Option, Reason
from loopwright.planning.tiered import tiered_lines

if TYPE_CHECKING:
    from loopwright.planning.prices.table import PriceTable

Way = Literal["nat", "endpoint", "nat_and_endpoint"]

_LARGEST_GATEWAY_MACHINES = 32
"""A gateway that is billed by the machine costs no more than for so many."""
_NEW_CONNECTIONS_PER_UNIT = 25.0
_ACTIVE_CONNECTIONS_PER_UNIT = 3000.0
_GB_PER_UNIT_HOUR = 1.0
_RULES_PER_UNIT = 1000.0

_REQUESTS = (("requests", 1.0),)
_REQUEST_BYTES = (("requests", 1.0), ("object_bytes", 1.0))


@dataclass(frozen=True)
class Traffic:
    """What moves in a month.

    Attributes:
        requests: Requests in a month.
        request_bytes: Of one request, as it comes in.
        answer_bytes: Of one answer, as it goes out.
        internet_share: The share of answers that leaves the cloud.
        internal_bytes: That the machines exchange with each other, the online store and the database for one request.
        stored_bytes: Between the machines and the object storage, in a month.
        image_bytes: Of one container image.
        image_pulls: How often one is pulled in a month.
        other_bytes: That leave the private network for elsewhere in a month: packages, alerts, other services.
        machines: In the private network, on average.
        zones: How many zones they are spread over.
        connection_s: How long a connection stays open.
        requests_per_connection: 1 where clients do not keep connections.
        rules: Of the load balancer, looked at for each request.
        region_bytes: Copied to another region in a month.
    """

    requests: float
    request_bytes: float
    answer_bytes: float
    internet_share: float = 1.0
    internal_bytes: float = 0.0
    stored_bytes: float = 0.0
    image_bytes: float = 0.0
    image_pulls: float = 0.0
    other_bytes: float = 0.0
    machines: float = 2.0
    zones: int = 2
    connection_s: float = 60.0
    requests_per_connection: float = 1.0
    rules: float = 1.0
    region_bytes: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < float("inf"):
                raise DeclarationError(f"{name} of the traffic must be 0 or more, and finite; got {value}.")
        if self.zones < 1 or self.requests_per_connection <= 0 or self.internet_share > 1:
            raise DeclarationError(
                "Traffic goes over one zone at least, a connection carries a request, and a share is at most 1; got "
                f"zones={self.zones}, requests_per_connection={self.requests_per_connection:g}, "
                f"internet_share={self.internet_share:g}."
            )


def network_stage(
    traffic: Traffic, prices: PriceTable, provider: str, *, region: str = "", has_balancer: bool = True
) -> tuple[Option, ...]:
    """Return the ways out of the private network, the cheapest that works first.

    A gateway in each zone for everything; endpoints for the object storage, the registry and the logs; or a gateway and
    an endpoint for the object storage. Load balancer, egress and traffic between zones are the same in all.

    Raises:
        UnknownNameError: If the provider's network has no prices.
    """
    shared = (*(balancer_lines(traffic, prices, provider) if has_balancer else ()), *_moved(traffic, prices, provider))
    names: dict[Way, str] = {
        "endpoint": "endpoints, no gateway",
        "nat_and_endpoint": "gateway, with an endpoint for the object storage",
        "nat": "gateway for everything",
    }
    found = []
    for way, name in names.items():
        lines = (*shared, *way_out_lines(traffic, prices, provider, way))
        reasons: tuple[Reason, ...] = ()
        if way == "endpoint" and traffic.other_bytes > 0:
            text = f"{traffic.other_bytes / GB:,.1f} GB a month go to places that have no endpoint"
            reasons = (Reason("network.private", text),)
        settings: dict[str, float | str | bool] = {"way_out": way, "zones": float(traffic.zones)}
        option = Option(
            "network", name, provider, region, "", "on_demand", "serverless", 0, settings, lines, reasons=reasons
        )
        found.append(option)
    return tuple(sorted(found, key=lambda one: (not one.is_feasible, one.usd_per_month)))


def balancer_lines(traffic: Traffic, prices: PriceTable, provider: str) -> tuple[CostLine, ...]:
    """Return what the load balancer costs: its hours, its addresses, and what goes through it."""
    lines = [
        CostLine("network", "load balancer", HOURS_PER_MONTH, prices.unit(provider, "load_balancer", "hour")),
    ]
    if prices.has(provider, "network", "public_ip_hour"):
        count = traffic.zones if prices.has(provider, "load_balancer", "capacity_hour") else 1
        note = f"{count} of the load balancer"
        price = prices.unit(provider, "network", "public_ip_hour")
        lines.append(CostLine("network", "public addresses", count * HOURS_PER_MONTH, price, note))
    if prices.has(provider, "load_balancer", "capacity_hour"):
        units, dimension = capacity_units(traffic)
        price = prices.unit(provider, "load_balancer", "capacity_hour")
        note = f"{units:.3g} units on average, by {dimension}"
        drivers = _REQUEST_BYTES if dimension == "bytes" else _REQUESTS
        lines.append(CostLine("network", "load balancer capacity", units * HOURS_PER_MONTH, price, note, drivers))
    else:
        price = prices.unit(provider, "load_balancer", "gb")
        through = traffic.requests * (traffic.request_bytes + traffic.answer_bytes) / GB
        lines.append(CostLine("network", "through the load balancer", through, price, "", _REQUEST_BYTES))
    return tuple(line for line in lines if line.quantity > 0)


def capacity_units(traffic: Traffic) -> tuple[float, str]:
    """Return the capacity units that an hour is billed at, and which of the four dimensions is the largest.

    Of new connections (25/s), active ones (3,000), bytes (1 GB/h) and rules (1,000/s) only the largest is billed.

    >>> units, dimension = capacity_units(Traffic(requests=30_416_667, request_bytes=1e5, answer_bytes=1e3))
    >>> round(units, 2), dimension
    (4.21, 'bytes')
    """
    rate = traffic.requests / SECONDS_PER_MONTH
    new = rate / traffic.requests_per_connection
    dimensions = {
        "new connections": new / _NEW_CONNECTIONS_PER_UNIT,
        "active connections": new * traffic.connection_s / _ACTIVE_CONNECTIONS_PER_UNIT,
        "bytes": rate * 3600 * (traffic.request_bytes + traffic.answer_bytes) / GB / _GB_PER_UNIT_HOUR,
        "rules": rate * traffic.rules / _RULES_PER_UNIT,
    }
    name = max(dimensions, key=lambda one: dimensions[one])
    return dimensions[name], name


def way_out_lines(traffic: Traffic, prices: PriceTable, provider: str, way: Way) -> tuple[CostLine, ...]:
    """Return what the way out of the private network costs, for storage, images and everything else."""
    stored, images, other = (
        traffic.stored_bytes / GB,
        traffic.image_bytes * traffic.image_pulls / GB,
        traffic.other_bytes / GB,
    )
    lines: list[CostLine] = []
    if way != "endpoint":
        through = other + images + (stored if way == "nat" else 0.0)
        lines += gateway_lines(traffic, prices, provider, through)
    if way != "nat":
        lines += _endpoint(prices, provider, "object_storage", stored, traffic.zones)
    if way == "endpoint":
        lines += _endpoint(prices, provider, "service", images, 2 * traffic.zones)
    return tuple(line for line in lines if line.quantity > 0)


def gateway_lines(traffic: Traffic, prices: PriceTable, provider: str, gigabytes: float) -> list[CostLine]:
    """Return what gateways cost: one in each zone, and each byte that goes through."""
    if prices.has(provider, "nat_gateway", "machine_hour"):
        price = prices.unit(provider, "nat_gateway", "machine_hour")
        billed = min(traffic.machines, _LARGEST_GATEWAY_MACHINES)
        hours, note = billed * HOURS_PER_MONTH, f"{billed:g} machines"
    else:
        price = prices.unit(provider, "nat_gateway", "hour")
        hours, note = traffic.zones * HOURS_PER_MONTH, f"one in each of {traffic.zones} zones"
    data = prices.unit(provider, "nat_gateway", "gb")
    return [
        CostLine("network", "gateway", hours, price, note),
        CostLine("network", "through the gateway", gigabytes, data, "in addition to egress", (("volume", 1.0),)),
    ]


def _endpoint(prices: PriceTable, provider: str, what: str, gigabytes: float, count: int) -> list[CostLine]:
    name = "object storage" if what == "object_storage" else "registry and logs"
    hour = prices.unit(provider, "private_endpoint", f"{what}_hour")
    data = prices.unit(provider, "private_endpoint", f"{what}_gb")
    lines = [
        CostLine("network", f"endpoint for {name}", count * HOURS_PER_MONTH, hour, f"{count} of them"),
        CostLine("network", f"through the endpoint for {name}", gigabytes, data, "", (("volume", 1.0),)),
    ]
    return [line for line in lines if line.usd_per_month > 0]


def _moved(traffic: Traffic, prices: PriceTable, provider: str) -> tuple[CostLine, ...]:
    out = traffic.requests * traffic.answer_bytes * traffic.internet_share / GB
    lines = [
        *tiered_lines("network", "egress", out, prices.tiers(provider, "egress", "internet"), drivers=_REQUESTS),
    ]
    crossing = traffic.requests * traffic.internal_bytes * (1 - 1 / traffic.zones) / GB
    for tier, way in (("cross_zone_out", "sent"), ("cross_zone_in", "received")):
        price = prices.unit(provider, "egress", tier)
        note = f"{1 - 1 / traffic.zones:.0%} of the inner traffic leaves its zone"
        lines.append(CostLine("network", f"between zones, {way}", crossing, price, note, _REQUESTS))
    region = prices.unit(provider, "egress", "inter_region")
    lines.append(CostLine("network", "to another region", traffic.region_bytes / GB, region))
    return tuple(line for line in lines if line.quantity > 0)


def gateway_excess_usd(traffic: Traffic, prices: PriceTable, provider: str) -> float:
    """Return what a gateway for everything costs more in a month than the cheapest way that works."""
    options = network_stage(traffic, prices, provider, has_balancer=False)
    through = next(one for one in options if one.settings["way_out"] == "nat")
    return total(through.lines) - options[0].usd_per_month
