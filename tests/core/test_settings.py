from pathlib import Path

import pytest

from loopwright.core.errors import SettingsError
from loopwright.core.settings import Settings


def test_defaults_lie_in_the_project(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path, environ={})
    assert settings.metadata_url == f"sqlite:///{tmp_path}/.loopwright/loop.db"
    assert settings.store_url == f"{tmp_path}/.loopwright/store"
    assert settings.home == tmp_path / ".loopwright"


def test_a_variable_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "loopwright.toml").write_text('[store]\nurl = "s3://bucket/prefix"\n[alerts]\nurls = ["json://a"]\n')
    assert Settings.load(tmp_path, environ={}).store_url == "s3://bucket/prefix"
    settings = Settings.load(
        tmp_path, environ={"LOOPWRIGHT_STORE_URL": "gs://x", "LOOPWRIGHT_ALERTS_URLS": "a://b, c://d"}
    )
    assert settings.store_url == "gs://x"
    assert settings.alert_urls == ("a://b", "c://d")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[store\n", "not valid TOML"),
        ("[store]\nurls = 'x'\n", r"no setting \[store\] urls"),
        ("store = 3\n", "sections only"),
        ("[serving]\ntoken = 'x'\n", "secret"),
        ("[serving]\nport = 'many'\n", r"\[serving\] port cannot be 'many'.*LOOPWRIGHT_SERVING_PORT"),
        ("[serving]\nport = 99999\n", "less than or equal to 65535"),
        ("[store]\nulr = 'x'\n", r"Did you mean \[store\] url"),
        ("[metadata]\nurl = 'mysql://x'\n", r"\[metadata\] url cannot be .*sqlite:///"),
        ("[online]\nurl = 'mysql://x'\n", r"This version knows sqlite:///, redis://, rediss://"),
        ("[training]\nmemory = 'lots'\n", "as in '4GB'"),
        ("[training]\ntime = 'soon'\n", "as in '2h'"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "loopwright.toml").write_text(content)
    with pytest.raises(SettingsError, match=message):
        Settings.load(tmp_path, environ={})


def test_the_token_comes_from_the_environment(tmp_path: Path) -> None:
    assert Settings.load(tmp_path, environ={"LOOPWRIGHT_SERVING_TOKEN": "t"}).serving_token == "t"  # noqa: S105 - no real one
