"""The contract of backends, on the simulated one."""

from __future__ import annotations

import pytest

from headrace.testing.backend_contract import BackendContract
from headrace.testing.backend_setup import Stand
from tests.contract.stands import SimulatedStand


class TestSimulated(BackendContract):
    @pytest.fixture
    def stand(self) -> Stand:
        return SimulatedStand()


class TestSimulatedThatAdopts(BackendContract):
    @pytest.fixture
    def stand(self) -> Stand:
        return SimulatedStand(adopts=True)
