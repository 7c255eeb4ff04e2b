"""What is loaded when, in a fresh process: a worker that handles numbers pays for no library of tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headrace.codec.codecs import Codecs
from headrace.store.folder.folder import FolderStore

HEAVY = ("numpy", "pandas", "polars", "pyarrow", "sklearn", "torch", "matplotlib", "lightgbm", "importlib.metadata")

SMALL = """
import dataclasses, datetime, enum, pathlib, sys, uuid
from headrace.codec.codecs import Codecs
from headrace.codec.values import File
from headrace.store.folder.folder import FolderStore
store, codecs = FolderStore(sys.argv[1]), Codecs()
class Colour(enum.Enum):
    RED = 1
@dataclasses.dataclass
class Report:
    rmse: float
for value in (1, 1.5, "x", None, True, [1, (2, {"a": b"x"})], {"a": {1}}, {1: b"x" * 2000}, b"x" * 9000, 2**100,
              datetime.date(2026, 1, 1), uuid.UUID(int=1), pathlib.Path("a"), Colour.RED, Report(0.5)):
    assert codecs.load(codecs.save(value, store), store, verify=True, safe_only=False) == value
pathlib.Path(sys.argv[1], "file").write_bytes(b"x" * 9000)
codecs.load(codecs.save(File(pathlib.Path(sys.argv[1], "file")), store), store)
print(*(each for each in sys.argv[2:] if each in sys.modules))
"""

TABLE = """
import sys, pyarrow as pa
from headrace.codec.codecs import Codecs
from headrace.store.folder.folder import FolderStore
store, codecs = FolderStore(sys.argv[1]), Codecs()
column = pa.Array.from_buffers(pa.int64(), 2, [None, pa.py_buffer(bytes(16))])  # pa.array() loads pandas by itself
table = pa.Table.from_arrays([column], names=["a"])
for value in (table, table["a"], table.to_batches()[0], (each for each in table.to_batches())):
    codecs.load(codecs.save(value, store), store, verify=True)
print(*(each for each in sys.argv[2:] if each in sys.modules))
"""

ESTIMATOR = """
import sys
from pathlib import Path
for name in ("torch", "cupy", "dask"):
    Path(sys.argv[1], name + ".py").write_text(f"raise SystemExit('{name} was imported')")
sys.path.insert(0, sys.argv[1])
from sklearn.linear_model import LinearRegression
from headrace.codec.codecs import Codecs
from headrace.store.folder.folder import FolderStore
store, codecs = FolderStore(sys.argv[1]), Codecs()
fitted = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
assert codecs.load(codecs.save(fitted, store), store).coef_ == fitted.coef_
import skops.io._trusted_types
print(len(skops.io._trusted_types.SKLEARN_ESTIMATOR_TYPE_NAMES) > 100, None in sys.modules.values())
"""


def loaded(script: str, folder: Path, names: tuple[str, ...]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder), *names], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_plain_values_records_and_files_load_no_library(tmp_path: Path) -> None:
    assert loaded(SMALL, tmp_path, HEAVY) == []


def test_a_table_loads_no_library_of_frames(tmp_path: Path) -> None:
    assert loaded(TABLE, tmp_path, ("pandas", "polars", "sklearn", "torch")) == []


MODEL = """
import sys
import lightgbm, numpy as np
from headrace.codec.codecs import Codecs
from headrace.store.folder.folder import FolderStore
store, codecs = FolderStore(sys.argv[1]), Codecs()
features, labels = np.arange(100.0).reshape(50, 2), np.array(["a", "b"] * 25)
model = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(features, labels)
found = codecs.load(codecs.save(model, store), store, safe_only=True)
assert (found.predict(features) == model.predict(features)).all()
print(*(each for each in sys.argv[2:] if each in sys.modules))
"""


def test_a_model_of_lightgbm_does_not_wait_for_skops(tmp_path: Path) -> None:
    pytest.importorskip("lightgbm")
    assert loaded(MODEL, tmp_path, ("skops",)) == []


VALUES = """
import collections, datetime, decimal, sys
import numpy as np
values = [
    {"b": {"x", "y", "z"}, "a": frozenset(range(20))}, ["one", 2.5, (None, {"k": np.float32(0.1)})], {1: b"x" * 3000},
    datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc), collections.OrderedDict(a=np.arange(5)), {"é", "ü"},
]
"""
PRINT = """
from headrace.codec.codecs import Codecs
from headrace.store.folder.folder import FolderStore
for value in values:
    print(Codecs().save(value, FolderStore(sys.argv[1])).identity)
"""


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_equal_values_are_the_same_artifact_in_every_process(seed: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", VALUES + PRINT, str(tmp_path)],
        capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    names: dict[str, list[object]] = {}
    exec(VALUES, names)
    here = [Codecs().save(each, FolderStore(tmp_path)).identity for each in names["values"]]
    assert done.stdout.split("\n")[:-1] == here


def test_an_estimator_loads_no_other_library_that_scikit_learn_has_an_adapter_for(tmp_path: Path) -> None:
    pytest.importorskip("skops", reason="skops, in whose format estimators are kept, is not installed")
    assert loaded(ESTIMATOR, tmp_path, ()) == ["True", "False"]
