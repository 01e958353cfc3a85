from __future__ import annotations

import pytest

from loopwright.features.conformance.engine import FeatureEngineConformance
from loopwright.features.conformance.engine_operations import EngineOperationsConformance
from loopwright.features.engine_duckdb import DuckEngine


class TestDuckEngine(FeatureEngineConformance):
    @pytest.fixture(params=[None, 200_000_000])
    def engine(self, request):
        return DuckEngine(memory_bytes=request.param)


class TestDuckEngineOperations(EngineOperationsConformance):
    @pytest.fixture
    def engine(self):
        return DuckEngine()
