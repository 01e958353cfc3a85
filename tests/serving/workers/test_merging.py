"""Sums over processes, and what the dead leave behind."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from loopwright.serving.log.prediction_log import LogCounts
from loopwright.serving.metrics import ServingMetrics
from loopwright.serving.workers.merging import exposition, left_behind, merged, snapshot
from loopwright.serving.workers.scrapes import WAIT_S, Scrapes

LOG = "loopwright_log_rows_"


def value(text: str, name: str) -> float:
    return sum(
        float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith((name + "{", name + " "))
    )


def shown(*snapshots: bytes) -> str:
    return exposition(merged(snapshots)).decode()


def process(requests: int, *, ready: bool = True, load_s: float = 1.0) -> ServingMetrics:
    metrics = ServingMetrics()
    for number in range(requests):
        metrics.request("m", 1, "champion", "rows", 200, 0.001 * (number + 1), 2)
    metrics.inflight("m", 3)
    metrics.ready(is_ready=ready)
    metrics.loaded("m", 1, load_s)
    return metrics


def test_counters_and_histograms_add_up_and_gauges_have_their_rules():
    text = shown(snapshot(process(4, load_s=1.0).registry), snapshot(process(6, ready=False, load_s=2.0).registry))
    assert value(text, "loopwright_requests_total") == 10
    assert value(text, "loopwright_request_seconds_count") == 10
    assert value(text, "loopwright_batch_rows_sum") == 20
    assert value(text, "loopwright_inflight") == 6
    assert value(text, "loopwright_ready") == 0
    assert value(text, "loopwright_model_load_seconds") == 2.0
    buckets = [line for line in text.splitlines() if line.startswith("loopwright_request_seconds_bucket")]
    assert len(buckets) == len({line.rpartition(" ")[0] for line in buckets})
    assert 'le="+Inf"' in buckets[-1]


def test_one_process_shows_what_it_shows_alone():
    metrics = process(5)
    alone = [line for line in metrics.exposition().decode().splitlines() if "_created" not in line]
    assert sorted(shown(snapshot(metrics.registry)).splitlines()) == sorted(alone)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5), st.data())
def test_rows_are_accepted_durable_in_flight_or_dropped_in_every_sum(counts, data):
    """Also when some of the processes have ended: what was in flight in them is dropped."""
    readings = []
    for durable, in_flight, dropped in counts:
        metrics = ServingMetrics()
        rows = LogCounts(durable + in_flight + dropped, durable, in_flight, {"disk_full": dropped})
        log = SimpleNamespace(model="m", counts=lambda rows=rows: rows)
        metrics.watch_log(log)
        readings.append(snapshot(metrics.registry))
    dead = data.draw(st.integers(0, len(readings)))
    living = readings[dead:]
    if dead:
        living.append(left_behind(readings[:dead]))
    text = shown(*living)
    accepted = value(text, f"{LOG}accepted_total")
    assert accepted == sum(map(sum, counts))
    parts = [value(text, f"{LOG}{name}") for name in ("durable_total", "in_flight", "dropped_total")]
    assert sum(parts) == accepted
    assert parts[1] == sum(in_flight for _, in_flight, _ in counts[dead:])


def test_a_scrape_waits_for_the_others_only_so_long():
    scrapes = Scrapes()
    scrapes.note(1, b"one")
    scrapes.note(2, b"two, some time ago")
    number = scrapes.begin(1, 7, [2, 3], now=0.0)
    scrapes.collected(2, number, b"two")
    assert scrapes.due(0.0, []) == []
    assert scrapes.next_end() == WAIT_S
    [(asker, answer)] = scrapes.due(WAIT_S, [])
    assert (asker, answer.number) == (1, 7)
    assert answer.snapshots[0] == b"two"
    assert scrapes.next_end() is None


def test_what_a_worker_counted_stays_when_it_is_gone():
    scrapes = Scrapes()
    for worker, requests in ((1, 2), (2, 3), (3, 4)):
        scrapes.note(worker, snapshot(process(requests).registry))
    scrapes.left(1)
    scrapes.left(2)
    scrapes.begin(3, 1, [], now=0.0)
    [(_, answer)] = scrapes.due(0.0, [])
    text = shown(snapshot(process(4).registry), *answer.snapshots)
    assert value(text, "loopwright_requests_total") == 9
    assert value(text, "loopwright_inflight") == 3, "the gauges of the dead say nothing"
