"""The contract of backends and of workers, on the local backend: in the open, and in a namespace."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.backends.processes.namespace import works
from headrace.testing.backend_contract import BackendContract
from headrace.testing.worker_contract import WorkerContract
from tests.contract.stands import LocalStand


class TestLocal(BackendContract, WorkerContract):
    @pytest.fixture
    def stand(self, tmp_path: Path) -> LocalStand:
        return LocalStand(tmp_path)


@pytest.mark.skipif(not works(), reason="namespaces can't be had here: install bubblewrap")
class TestLocalInANamespace(BackendContract, WorkerContract):
    @pytest.fixture
    def stand(self, tmp_path: Path) -> LocalStand:
        return LocalStand(tmp_path, namespace=True)
