"""The chain of migrations leads to exactly the tables that the rooms declare."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from loopwright.core.errors import StoreTooNewError
from loopwright.core.storage.facts import Facts, metadata

if TYPE_CHECKING:
    from pathlib import Path


def test_migrated_store_equals_declared_tables(tmp_path: Path, source: Path) -> None:
    for path in sorted(source.rglob("*.py")):
        if "= sa.Table(" in path.read_text():
            importlib.import_module("loopwright." + ".".join(path.relative_to(source).with_suffix("").parts))
    facts = Facts(f"sqlite:///{tmp_path}/loop.db")
    with facts.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = [
            item
            for item in compare_metadata(context, metadata)
            if item[0] != "remove_table" or item[1].name != "alembic_version"
        ]
    facts.close()
    assert differences == []


def test_store_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/loop.db"
    facts = Facts(url)
    with facts.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    facts.close()
    with pytest.raises(StoreTooNewError, match="9999"):
        Facts(url)
