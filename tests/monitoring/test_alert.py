from __future__ import annotations

import http.server
import json
import sys
import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa

from loopwright.core.errors import MissingExtraError, SettingsError
from loopwright.monitoring.alert import (
    Alerts,
    AppriseChannel,
    LogChannel,
    Message,
    WebhookChannel,
    alert_outbox,
    channel,
)
from loopwright.monitoring.incident import Incidents
from loopwright.monitoring.signal import Signal


class Hook:
    """A web hook on the loopback device that can be told to fail."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict]] = []
        self.status = 200
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.received.append((self.headers["Idempotency-Key"], body))
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?token=secret"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hook():
    made = Hook()
    yield made
    made.server.shutdown()
    made.server.server_close()


def open_incident(stores, alerts, severity="page"):
    incidents = Incidents(stores, alerts.put)
    signal = Signal("s1", "eta", "eta/1", "model", "loss", severity, 0.3, 0.1, {}, 500, "#1", {}, stores.clock.now())
    with stores.facts.write() as connection:
        return incidents.alarm(connection, signal)


def outbox(stores):
    with stores.facts.read() as connection:
        return connection.execute(sa.select(alert_outbox)).all()


def test_an_incident_is_told_once_per_channel_with_its_key(stores, hook):
    alerts = Alerts(stores, [channel(hook.url), LogChannel()])
    incident = open_incident(stores, alerts)
    assert alerts.deliver_due().sent == 2
    assert alerts.deliver_due().sent == 0
    ((key, body),) = hook.received
    assert body["incident"]["id"] == incident.id
    assert "eta: loss" in body["title"]
    assert key in {row.idempotency_key for row in outbox(stores)}
    assert not any("secret" in str(row) for row in outbox(stores))


def test_a_channel_that_fails_is_tried_again_with_the_same_key_and_stops_nobody(stores, hook, clock):
    alerts = Alerts(stores, [channel(hook.url), LogChannel()])
    open_incident(stores, alerts)
    hook.status = 503
    report = alerts.deliver_due()
    assert (report.sent, report.failed) == (1, 1)
    assert alerts.deliver_due().failed == 0
    clock.advance(16)
    hook.status = 200
    assert alerts.deliver_due().sent == 1
    first, second = hook.received
    assert first[0] == second[0]


def test_waits_grow_to_a_quarter_of_an_hour_and_end_after_a_day(stores, hook, clock):
    alerts = Alerts(stores, [channel(hook.url)])
    open_incident(stores, alerts)
    hook.status = 500
    waits = []
    while (row := outbox(stores)[0]).state == "waiting":
        alerts.deliver_due()
        waits.append(outbox(stores)[0].next_at - clock.now())
        clock.advance(timedelta(minutes=15))
    assert waits[0] == timedelta(seconds=15)
    assert waits[-2] == timedelta(minutes=15)
    assert row.state == "dead"
    assert "500" in row.last_error
    assert row.attempts == 97


def test_a_message_claimed_by_a_process_that_died_is_sent_by_another(stores, hook, clock):
    alerts = Alerts(stores, [channel(hook.url)])
    open_incident(stores, alerts)
    assert alerts._claim() is not None
    assert alerts.deliver_due().sent == 0
    clock.advance(121)
    assert alerts.deliver_due().sent == 1


def test_addresses_make_their_channels(monkeypatch):
    assert isinstance(channel("log://"), LogChannel)
    assert isinstance(channel("https://example.com/x"), WebhookChannel)
    assert "example.com" not in repr(channel("https://example.com/x"))
    with pytest.raises(SettingsError):
        channel("no address")
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(MissingExtraError, match="alerts"):
        channel("slack://a/b/c")


@pytest.mark.filterwarnings("ignore")
def test_apprise_sends_to_its_services(hook):
    pytest.importorskip("apprise")
    url = hook.url.replace("http://", "json://")
    channel(url).send(Message("title", "body", {}, "key"))
    assert hook.received[0][1]["title"] == "title"
    hook.status = 500
    with pytest.raises(ConnectionError, match="json#"):
        AppriseChannel(url).send(Message("title", "body", {}, "key"))
    with pytest.raises(SettingsError, match="Apprise"):
        channel("unheard-of://x")
