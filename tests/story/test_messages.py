"""Real messages through a whole turn: a text column, a transform over it, a logistic regression, two answers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pyarrow.parquet as pq

from loopwright.core.clock import ManualClock
from loopwright.core.ids import Ids, seeded_entropy
from loopwright.core.storage.payloads import INDEX
from loopwright.loop.loading import load_loop
from loopwright.loop.turn import run_turn
from loopwright.serving.calls.endpoint import InferenceCall
from loopwright.serving.models.model_source import RegistrySource
from loopwright.serving.server.server import Server, ServerPlan
from loopwright.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = '''
"""Messages: wanted or not, by their words."""
import loopwright as lw

loop = lw.Loop("messages")
messages = loop.dataset(
    "messages",
    source=lw.files("messages.parquet"),
    key="row",
    contract=[
        lw.column("row", "int"),
        lw.column("text", "text", matches="(?s).+"),
        lw.column("label", "category", among=["ham", "spam"]),
    ],
)


@loop.transform(messages["text"])
def words(texts):
    """Counts of the words, by hash."""
    from sklearn.feature_extraction.text import HashingVectorizer

    assert all(type(text) is str for text in texts)
    return HashingVectorizer(n_features=512, norm=None, alternate_sign=False).transform(texts).toarray()


@loop.model(
    "spam",
    label=lw.label(messages.label),
    features=[words],
    holdout=lw.fraction(0.3, seed=1),
    metrics=["balanced_accuracy"],
    gates=[lw.at_least("balanced_accuracy", 0.9)],
)
def spam(train: lw.TrainingSet, params: lw.Params, seed: int):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=300).fit(train.X, train.y)


loop.deploy(spam, online=lw.online(canary=[100]))
'''


def test_messages_become_a_model(tmp_path: Path, shared_data: Path) -> None:
    table = pq.read_table(shared_data / "sms_spam.parquet")
    pq.write_table(table, tmp_path / "messages.parquet")
    (tmp_path / "loop.py").write_text(PROJECT)
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    with Workspace.open(tmp_path, clock=clock, ids=Ids(clock, seeded_entropy(1))) as workspace:
        clock.advance(timedelta(days=1))
        loop = load_loop(tmp_path)
        result = run_turn(loop, workspace).models["spam"]
        assert result["promoted"] is True
        assert result["metrics"]["balanced_accuracy"] > 0.9
        distinct = pc.count_distinct(table["text"]).as_py()
        assert distinct < table.num_rows  # the same message was sent more than once, and is stored once
        assert workspace.stores.tables.count(INDEX) == distinct
        assert workspace.data.snapshot("messages").rows == table.num_rows
        plan = ServerPlan(models={"spam": loop.models["spam"].online})
        server = Server(workspace.stores, RegistrySource(workspace.stores), plan, online=workspace.features.online)
        assert server.watch.check()
        sent = ["WINNER!! Claim your free prize now, call 09061701461 txt stop", "see you at home after lunch then"]
        call = InferenceCall(rows=[{"text": text} for text in sent], protocol="rows", keys=None)
        served = asyncio.run(server.endpoints["spam"].answer(call))
        assert list(served.answers.values) == ["spam", "ham"]
