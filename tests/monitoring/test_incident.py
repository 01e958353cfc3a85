from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import RefusedError, UnknownNameError
from loopwright.monitoring.incident import Acknowledge, Alarm, Clean, Incidents, Resolve, next_state
from loopwright.monitoring.signal import SEVERITY_RANK, Signal, Signals

START = datetime(2026, 1, 1, tzinfo=UTC)


def make_signal(
    number: int = 1, severity: str = "ticket", check: str = "drift", features: tuple[str, ...] = ()
) -> Signal:
    evidence = {"features": [{"feature": name} for name in features]}
    return Signal(
        f"s{number}", "eta", "eta/1", "data", check, severity, 0.2, 0.05, {"p": 0.0}, 500, f"#{number}", evidence, START
    )  # type: ignore[arg-type]


_events = st.lists(
    st.tuples(
        st.sampled_from(["note", "ticket", "page", "clean", "acknowledge", "resolve"]),
        st.integers(0, 40).map(lambda hours: timedelta(hours=hours)),
    ),
    max_size=30,
)


@given(_events)
def test_the_state_machine_keeps_its_promises(steps):
    incident, now, count = None, START, itertools.count()
    clean = 0
    told_at = None
    for number, (kind, wait) in enumerate(steps):
        now += wait
        before = incident
        match kind:
            case "clean":
                event = Clean(now)
            case "acknowledge":
                event = Acknowledge("ada", now)
            case "resolve":
                event = Resolve("by hand", now)
            case _:
                event = Alarm(make_signal(number, kind), now)
        step = next_state(before, event, lambda: f"i{next(count)}")
        incident = step.incident
        live_before = before is not None and before.live
        clean = clean + 1 if kind == "clean" and live_before else 0 if kind in {"ticket", "page"} else clean
        if kind in {"ticket", "page"}:
            assert incident is not None
            assert incident.live
            assert incident.signals[-1] == f"s{number}"
            if live_before:
                assert incident.id == before.id
                assert SEVERITY_RANK[incident.severity] >= SEVERITY_RANK[before.severity]
            else:
                assert step.notify
                clean = 0
        if kind == "note":
            assert incident is before
            assert not step.notify
        if live_before and not incident.live:
            assert kind == "resolve" or (kind == "clean" and clean == 2)
            assert step.notify
        if live_before and kind == "clean" and clean >= 2:
            assert not incident.live
        if not live_before and kind in {"clean", "acknowledge", "resolve"}:
            assert incident is before
        if step.notify and live_before and incident.live:
            grew = incident.severity != before.severity
            quiet = now - told_at
            assert grew or (
                before.state == "open" and quiet >= timedelta(hours=4 if incident.severity == "page" else 24)
            )
        if step.notify:
            told_at = now
            assert incident.notifications == (before.notifications if live_before else 0) + 1


def test_one_incident_lists_all_features_and_a_new_alarm_after_the_end_opens_another(stores):
    signals, incidents = Signals(stores), Incidents(stores)
    told = []
    incidents = Incidents(stores, lambda _connection, incident: told.append((incident.id, incident.state)))
    with stores.facts.write() as connection:
        for number, names in enumerate((("a",), ("b", "a"))):
            signal = make_signal(number, features=names)
            assert signals.add(connection, signal)
            assert not signals.add(connection, signal)
            incidents.alarm(connection, signal)
    (one,) = incidents.list(live=True)
    assert one.features == ("a", "b")
    assert one.signals == ("s0", "s1")
    with stores.facts.write() as connection:
        incidents.clean(connection, "eta", "drift")
        incidents.clean(connection, "eta", "drift")
        incidents.alarm(connection, make_signal(9))
    assert [incident.state for incident in incidents.list("eta")].count("resolved") == 1
    assert [state for _, state in told] == ["open", "resolved", "open"]
    assert [signal.id for signal in signals.list("eta")] == ["s0", "s1"]
    assert [signal.id for signal in signals.list(after="s0")] == ["s1"]
    assert signals.get("s0") == make_signal(0, features=("a",))
    assert signals.get("none") is None


def test_a_person_takes_and_ends_an_incident(stores):
    incidents = Incidents(stores)
    with stores.facts.write() as connection:
        incidents.alarm(connection, make_signal())
        incidents.alarm(connection, make_signal(check="loss", severity="page"))
    one = next(incident for incident in incidents.list() if incident.check == "loss")
    assert incidents.acknowledge(one.id, "ada").acknowledged_by == "ada"
    assert incidents.resolve(one.id, "rolled back").resolution == "rolled back"
    with pytest.raises(RefusedError, match="resolved already"):
        incidents.acknowledge(one.id, "ada")
    with pytest.raises(UnknownNameError):
        incidents.resolve("nothing", "because")
    with stores.facts.write() as connection:
        incidents.resolve_all(connection, "eta", "superseded")
    assert incidents.list(live=True) == []
