"""Which exchange of events belongs to a URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.storage.exchange_kafka import KafkaExchange
from loopwright.core.storage.exchange_sqlite import SqliteExchange
from loopwright.core.storage.kafka_url import SCHEME

if TYPE_CHECKING:
    from loopwright.core.clock import Clock
    from loopwright.core.storage.exchange import Exchange, ExchangePlan


def open_exchange(url: str, plan: ExchangePlan, *, clock: Clock) -> Exchange:
    """Open the exchange on the event log that ``[stream] url`` names.

    Raises:
        MissingExtraError: If it is on Kafka and ``confluent_kafka`` is not installed.
    """
    return KafkaExchange(url, plan) if url.startswith(SCHEME) else SqliteExchange(url, plan, clock=clock)
