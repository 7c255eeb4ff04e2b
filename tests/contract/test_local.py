"""The contract of backends and of workers, on the local backend: in the open, and in a namespace."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.backends.processes.namespace import works
from headrace.testing.backend_contract import BackendContract
from headrace.testing.worker_contract import WorkerContract
from tests.contract.stands import LocalStand


class OfLocal(BackendContract, WorkerContract):
    """The suite, but for what holds of workers that outlive their driver: these are waited for, and then ended."""

    test_a_worker_that_lives_on_goes_on_for_its_new_driver_and_heeds_no_other = None  # type: ignore[assignment]


class TestLocal(OfLocal):
    @pytest.fixture
    def stand(self, tmp_path: Path) -> LocalStand:
        return LocalStand(tmp_path)


@pytest.mark.skipif(not works(), reason="namespaces can't be had here: install bubblewrap")
class TestLocalInANamespace(OfLocal):
    @pytest.fixture
    def stand(self, tmp_path: Path) -> LocalStand:
        return LocalStand(tmp_path, namespace=True)
