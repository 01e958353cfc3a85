"""The section ``[sources]``: connections and secrets, by names that the project chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopwright.core.errors import SettingsError
from loopwright.core.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_a_variable_overrides_the_file_and_nothing_is_shown(tmp_path: Path) -> None:
    (tmp_path / "loopwright.toml").write_text('[sources]\norders_db = "postgresql://file"\nshop_token = "t"\n')
    settings = Settings.load(tmp_path, environ={"LOOPWRIGHT_SOURCES_ORDERS_DB": "postgresql://ann:pa55@h"})
    assert settings.sources == {"orders_db": "postgresql://ann:pa55@h", "shop_token": "t"}
    assert "pa55" not in repr(settings)
    assert Settings.load(tmp_path / "none", environ={}).sources == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[sources]\nport = 5432\n", r"\[sources\] port is a int.*as a text"),
        ('[sources]\n"Orders-DB" = "x"\n', "no name for a connection.*lower-case"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "loopwright.toml").write_text(content)
    with pytest.raises(SettingsError, match=message):
        Settings.load(tmp_path, environ={})
