from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pytest

from loopwright.core.errors import DeclarationError
from loopwright.planning.prices.check import check_prices
from loopwright.planning.prices.rows import SHIPPED

TODAY = date(2026, 11, 23)


def test_the_shipped_table_passes() -> None:
    found = check_prices(today=TODAY)
    assert found.is_usable
    assert found.rows > 370
    assert found.stale is not None
    assert {one.text.partition(": ")[2] for one in found.doubtful} == {"in one zone spot is as dear as on demand"}


def test_every_broken_row_is_listed(tmp_path: Path) -> None:
    text = (SHIPPED / "instances.csv").read_text()
    path = tmp_path / "mine.csv"
    path.write_text(text.replace(",0.17,", ",700.0,").replace(",0.34,", ",abc,"))
    found = check_prices(path, today=TODAY)
    assert not found.is_usable
    assert {one.value for one in found.refused} == {"700.0", "abc"}
    assert len(found.refused) > 3


def test_a_folder_with_one_table(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="has no price table"):
        check_prices(tmp_path, today=TODAY)
    shutil.copy(SHIPPED / "commitments.csv", tmp_path)
    found = check_prices(tmp_path, today=TODAY)
    assert (found.rows, found.doubtful) == (59, ())
