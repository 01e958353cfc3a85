"""Scorers over models that are registered once for all tests."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from loopwright.core.compute_local import LocalCompute
from loopwright.data.lake import Lake
from loopwright.serving.scoring.destination import Folder, LakeTable
from loopwright.serving.scoring.job import ScoreRequest
from loopwright.serving.scoring.scorer import Scorer

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("scoring_projects", HERE / "projects.py")
projects = importlib.util.module_from_spec(spec)
sys.modules["scoring_projects"] = projects
spec.loader.exec_module(projects)


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored") / "project"
    folder.mkdir()
    stores = projects.opened(folder)
    projects.register(folder, stores)
    projects.register(folder, stores, "late", classifies=True)
    stores.close()
    return folder


@pytest.fixture
def project(template, tmp_path):
    return Path(shutil.copytree(template, tmp_path / "project"))


@pytest.fixture
def scored(project):
    stores = projects.opened(project)
    yield stores
    stores.close()


@pytest.fixture
def scorer(scored):
    return Scorer(scored, Lake(scored), compute=LocalCompute(0))


@pytest.fixture
def make():
    return projects


@pytest.fixture
def request_of(project):
    def made(source, to="lake", **options) -> ScoreRequest:
        destination = LakeTable("eta") if to == "lake" else Folder(project / to, options.pop("format", "parquet"))
        return ScoreRequest(options.pop("model", "eta"), source, destination, **options)

    return made
