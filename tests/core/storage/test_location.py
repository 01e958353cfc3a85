from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopwright.core.errors import SettingsError
from loopwright.core.storage.blobs import BlobStore
from loopwright.core.storage.location import Location
from loopwright.core.storage.tables import TableStore

if TYPE_CHECKING:
    from pathlib import Path


def test_a_path_and_its_url_are_the_same_place(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    assert Location.parse(folder) == Location.parse(str(folder)) == Location.parse(folder.as_uri())
    assert Location.parse(folder).child("x").folder == folder / "x"


def test_a_relative_path_is_taken_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Location.parse(".loopwright/store").folder == tmp_path / ".loopwright" / "store"


@pytest.mark.parametrize(
    "url", ["s3://bucket/a", "gs://bucket/a", "az://container/a", "abfss://c@acc.dfs.core.windows.net/a"]
)
def test_an_object_store_has_no_folder(url: str) -> None:
    assert Location.parse(url + "/") == Location(url, None)
    assert Location.parse(url).child("tables").url == url + "/tables"


@pytest.mark.parametrize("url", ["ftp://host/a", "s3:///a", "https://host/a"])
def test_refuses_other_places(url: str) -> None:
    with pytest.raises(SettingsError, match="no place for a store"):
        Location.parse(url)


def test_opens_a_bucket_without_asking_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert BlobStore("s3://bucket/prefix").location.folder is None
    assert TableStore("s3://bucket/prefix").location.url == "s3://bucket/prefix/tables"


def test_refuses_folders_that_tables_cannot_lie_in(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="its name has"):
        TableStore(tmp_path / "a[b]")
