from __future__ import annotations

from datetime import timedelta

import pytest

from loopwright.core.access import Access, Principal, require
from loopwright.core.clock import ManualClock
from loopwright.core.errors import AccessDeniedError, DeclarationError, UnknownNameError
from loopwright.core.storage.stores import Stores


@pytest.fixture
def access(stores: Stores) -> Access:
    return Access(stores.facts, stores.clock, stores.ids)


def test_without_tokens_whoever_asks_is_the_admin(access: Access) -> None:
    assert access.principal(None, local="ada") == Principal("ada", "admin")


def test_the_first_token_turns_access_control_on(access: Access) -> None:
    with pytest.raises(DeclarationError, match="must be an admin's"):
        access.create("dashboard", "viewer")
    secret = access.create("ada", "admin")
    assert access.principal(secret) == Principal("ada", "admin")
    with pytest.raises(AccessDeniedError, match="No token was given"):
        access.principal(None)
    with pytest.raises(AccessDeniedError, match="not known"):
        access.principal(secret + "x")
    viewer = access.create("dashboard", "viewer")
    assert access.principal(viewer) == Principal("dashboard", "viewer")


def test_a_secret_is_not_kept(access: Access, stores: Stores) -> None:
    secret = access.create("ada", "admin")
    for path in stores.settings.project.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes()


def test_tokens_end(access: Access, clock: ManualClock) -> None:
    access.create("ada", "admin")
    short = access.create("job", "operator", expires_in=timedelta(hours=1))
    clock.advance(3601)
    with pytest.raises(AccessDeniedError, match="has expired"):
        access.principal(short)
    other = access.create("bob", "operator")
    assert access.revoke("bob") == 1
    with pytest.raises(AccessDeniedError, match="was revoked"):
        access.principal(other)
    with pytest.raises(UnknownNameError):
        access.revoke("bob")


def test_the_last_admin_stays_while_others_have_tokens(access: Access) -> None:
    access.create("ada", "admin")
    access.create("dash", "viewer")
    with pytest.raises(DeclarationError, match="last admin"):
        access.revoke("ada")
    access.revoke("dash")
    access.revoke("ada")
    assert not access.is_on


def test_roles_include_the_lower_ones() -> None:
    require(Principal("ada", "admin"), "operator", "erasing")
    with pytest.raises(AccessDeniedError, match="dash is viewer, and reading rows needs operator"):
        require(Principal("dash", "viewer"), "operator", "reading rows")


def test_readings_are_on_record(access: Access) -> None:
    who = Principal("ada", "operator")
    access.note_read(who, dataset="people", columns=["income"], rows=3, purpose="data rows")
    (read,) = access.reads()
    assert (read.reader, read.dataset, read.columns, read.rows, read.purpose) == (
        "ada",
        "people",
        ("income",),
        3,
        "data rows",
    )
    assert access.reads(dataset="other") == []
