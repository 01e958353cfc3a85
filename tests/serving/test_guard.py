"""Roles at the HTTP door."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from loopwright.core.access import Access
from loopwright.core.clock import ManualClock
from loopwright.core.errors import ForbiddenRequestError, UnauthorizedRequestError
from loopwright.core.storage.stores import Stores
from loopwright.serving.guard import REMEMBERED_S, Guard


def _request(path: str, token: str | None = None) -> SimpleNamespace:
    value = None if token is None else f"Bearer {token}"
    return SimpleNamespace(path=path, header=lambda name: value if name == b"authorization" else None)


@pytest.fixture
def access(stores: Stores) -> Access:
    return Access(stores.facts, stores.clock, stores.ids)


def test_without_tokens_everybody_passes(access: Access, clock: ManualClock) -> None:
    guard = Guard((), access, clock=clock)
    guard.check(_request("/predict/eta"))
    assert not guard.is_on


def test_a_viewer_asks_and_an_operator_pushes(access: Access, clock: ManualClock) -> None:
    access.create("ada", "admin")
    viewer, operator = access.create("app", "viewer"), access.create("job", "operator")
    guard = Guard((), access, clock=clock)
    guard.check(_request("/predict/eta", viewer))
    guard.check(_request("/ingest/orders", operator))
    with pytest.raises(ForbiddenRequestError, match="app is viewer, and /ingest/orders needs operator"):
        guard.check(_request("/ingest/orders", viewer))
    with pytest.raises(ForbiddenRequestError):
        guard.check(_request("/outcomes", viewer))
    for wrong in (None, "lw_guess", ""):
        with pytest.raises(UnauthorizedRequestError):
            guard.check(_request("/metrics", wrong))


def test_the_token_of_the_settings_may_do_everything(access: Access, clock: ManualClock) -> None:
    guard = Guard(("secret",), access, clock=clock)
    guard.check(_request("/ingest/orders", "secret"))
    with pytest.raises(UnauthorizedRequestError):
        guard.check(_request("/predict/eta"))


def test_a_revoked_token_ends_within_seconds(access: Access, clock: ManualClock) -> None:
    access.create("ada", "admin")
    viewer = access.create("app", "viewer")
    guard = Guard((), access, clock=clock)
    guard.check(_request("/predict/eta", viewer))
    access.revoke("app")
    clock.advance(REMEMBERED_S)
    with pytest.raises(UnauthorizedRequestError):
        guard.check(_request("/predict/eta", viewer))
