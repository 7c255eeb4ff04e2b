"""Stages in the cells of a notebook: they count by their source, wherever the kernel keeps it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.notebooks import play as play_in_kernel
from tests.projects import lent

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class Notebook(NamedTuple):
    """Cells before and after an edit, and whether it reaches `fit`."""

    name: str
    before: list[str]
    after: list[str]
    changes: bool
    note: str | None = None


HELPER = ["DEPTH = 2", "def helper(x):\n    return x + DEPTH", "def fit(x: int) -> int:\n    return helper(x)"]
MODEL = [
    "class Model:\n    depth = 2\n\n    def apply(self, x):\n        return x",
    "def fit(x):\n    return Model().apply(x)",
]
UNREAD = ["import threading", "LOCAL = threading.local()\nLOCAL.depth = 1", "def fit(x):\n    return LOCAL.depth"]
LINE = [
    "from sklearn.linear_model import LinearRegression\nLINE = LinearRegression().fit([[0], [1]], [0, 1])",
    "def fit(x):\n    return LINE.predict(x)",
]
HELD = [
    LINE[0],
    "class Scorer:\n    line = LINE\n\n    def __init__(self):\n        self.inner = {'line': LINE}",
    "SCORER = Scorer()",
    "def make(line):\n    return lambda x: line.predict(x)",
    "scale = make(LINE)",
]
NET = [
    "import torch\ntorch.manual_seed(0)",
    """class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, x):
        return self.layer(x)
""",
    "NET = Net()",
    "def fit(x):\n    return NET(x)",
]
TREES = [
    "import lightgbm\nimport numpy as np",
    "ROWS = lightgbm.Dataset(np.arange(100.0).reshape(50, 2), np.arange(50.0), free_raw_data=False)",
    "TREES = lightgbm.train({'verbose': -1, 'num_threads': 1}, ROWS, 1, keep_training_booster=True)",
    "def fit(x):\n    return TREES.predict(x)",
]
FUTURE = [
    "from __future__ import annotations",
    "import dataclasses\n@dataclasses.dataclass\nclass Model:\n    x: int = 1",
    "def fit(m: Model) -> Nothing:\n    return m.x",
]
NOTEBOOKS = [
    Notebook("a helper in another cell", HELPER, [HELPER[0], HELPER[1].replace("+", "-"), HELPER[2]], True),
    Notebook("a constant in another cell", HELPER, ["DEPTH = 3", *HELPER[1:]], True),
    Notebook("a cell that is run again, changed", HELPER, [*HELPER, HELPER[1].replace("+", "-")], True),
    Notebook("a cell that is run again, unchanged", HELPER, [*HELPER, HELPER[1]], False),
    Notebook("a comment in a cell", HELPER, [*HELPER[:2], "# a comment\n" + HELPER[2]], False),
    Notebook("a cell that is split", HELPER, ["DEPTH = 2\n" + HELPER[1], HELPER[2]], False),
    Notebook("a cell that the stage does not reach", HELPER, ["other = 1", *HELPER], False),
    Notebook("a method of a class", MODEL, [MODEL[0].replace("return x", "return -x"), MODEL[1]], True),
    Notebook("an attribute of a class", MODEL, [MODEL[0].replace("depth = 2", "depth = 3"), MODEL[1]], True),
    Notebook(
        "a class without methods",
        ["class Model:\n    depth = 2", "def fit(x):\n    return Model.depth"],
        ["class Model:\n    depth = 3", "def fit(x):\n    return Model.depth"],
        True,
    ),
    Notebook(
        "what counts as written",
        UNREAD,
        [UNREAD[0], UNREAD[1].replace("= 1", "= 2"), UNREAD[2]],
        True,
        "source text counts",
    ),
    Notebook(
        "a lambda",
        ["half = lambda x: x / 2", "def fit(x):\n    return half(x)"],
        ["half = lambda x: x / 3", "def fit(x):\n    return half(x)"],
        True,
    ),
    Notebook(
        "names in annotations that come from an earlier cell's future",
        FUTURE,
        [FUTURE[0], FUTURE[1].replace("= 1", "= 2"), FUTURE[2]],
        True,
    ),
    Notebook(
        "a cell that imports a module and calls what it has",
        ["import math\n\ndef helper(x):\n    return math.floor(x)", "def fit(x):\n    return helper(x)"],
        ["import math\n\ndef helper(x):\n    return math.ceil(x)", "def fit(x):\n    return helper(x)"],
        True,
    ),
    Notebook(
        "globals()",
        ["def helper():\n    return 1", "def fit(name):\n    return globals()[name]()"],
        ["def helper():\n    return 2", "def fit(name):\n    return globals()[name]()"],
        True,
        "counts",
    ),
]

LIBRARIES = [
    Notebook("an estimator that a later cell fits again", LINE, [*LINE, "LINE.fit([[0], [1]], [0, 9])"], True),
    Notebook("an estimator that is fitted again to the same", LINE, [*LINE, "LINE.fit([[0], [1]], [0, 1])"], False),
    Notebook("an attribute of an estimator", LINE, [*LINE, "LINE.coef_ = LINE.coef_ * 2"], True),
    Notebook(
        "an estimator that a function fits again",
        [*LINE, "def again(y):\n    LINE.fit([[0], [1]], y)"],
        [*LINE, "def again(y):\n    LINE.fit([[0], [1]], y)", "again([0, 9])"],
        True,
    ),
    Notebook(
        "an estimator that holds a random generator",
        [*LINE, "import random\nLINE.draws = random.Random(0)"],
        [*LINE, "import random\nLINE.draws = random.Random(1)"],
        True,
    ),
    *(
        Notebook(
            f"an estimator in {where}",
            [*HELD, f"def fit(x):\n    return {read}.predict(x)"],
            [*HELD, f"def fit(x):\n    return {read}.predict(x)", "LINE.fit([[0], [1]], [0, 9])"],
            True,
        )
        for where, read in (("an instance", "SCORER.inner['line']"), ("a class", "Scorer.line"), ("a closure", "scale"))
    ),
    Notebook(
        "an estimator as a default",
        [LINE[0], "def fit(x, line=LINE):\n    return line.predict(x)"],
        [LINE[0], "def fit(x, line=LINE):\n    return line.predict(x)", "LINE.fit([[0], [1]], [0, 9])"],
        True,
    ),
    Notebook("a network whose weights change", NET, [*NET, "with torch.no_grad():\n    NET.layer.weight += 1"], True),
    Notebook("a network whose weights are written again", NET, [*NET, "NET.load_state_dict(NET.state_dict())"], False),
    Notebook("a booster that learns one more tree", TREES, [*TREES, "TREES.update()"], True),
]


def can_run(how: str) -> bool:
    return how != "ipython" or importlib.util.find_spec("IPython") is not None


def play(how: str, notebooks: list[Notebook], folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return by name what each notebook has before and after its edit: the same in two folders and processes."""
    cells = folder / "notebooks.json"
    cells.write_text(json.dumps([each for notebook in notebooks for each in notebook[1:3]]), encoding="utf-8")
    answers = []
    for place in ("here", "there"):
        (folder / place).mkdir()
        script = [sys.executable, str(HERE / "edits" / "notebook.py"), how, str(cells), "results.json"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "IPYTHONDIR": str(folder / "ipython")}
        subprocess.run(script, cwd=folder / place, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=100)
        answers.append(json.loads((folder / place / "results.json").read_text(encoding="utf-8")))
    assert answers[0] == answers[1]
    return {each.name: answers[0][2 * index : 2 * index + 2] for index, each in enumerate(notebooks)}


@pytest.fixture(scope="module", params=["ipython", "linecache", "sources"])
def results(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[dict[str, Any]]]:
    if not can_run(request.param):
        pytest.skip("IPython is not installed")
    return play(request.param, NOTEBOOKS, tmp_path_factory.mktemp("notebooks"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.name)
def test_notebook(notebook: Notebook, results: dict[str, list[dict[str, Any]]]) -> None:
    before, after = results[notebook.name]
    assert (before["digest"] != after["digest"]) == notebook.changes
    for each in (before, after):
        assert each["uncached"] is None
        assert bool(each["notes"]) == (notebook.note is not None), each["notes"]
        assert notebook.note is None or notebook.note in each["notes"][0]
    if notebook.before == MODEL:
        assert before["class"] != after["class"]
    assert "notebook.fit" in before["names"]


@pytest.fixture(scope="module")
def of_libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    for library in ("sklearn", "torch", "lightgbm"):
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    return play("linecache", LIBRARIES, tmp_path_factory.mktemp("libraries"))


@pytest.mark.parametrize("notebook", LIBRARIES, ids=lambda notebook: notebook.name)
def test_a_librarys_object_in_a_notebook_counts_by_its_state(
    notebook: Notebook, of_libraries: dict[str, list[dict[str, Any]]]
) -> None:
    before, after = of_libraries[notebook.name]
    assert (before["digest"] != after["digest"]) == notebook.changes
    for each in (before, after):
        assert each["uncached"] is None
        assert each["notes"] == []


OPENS = """
import headrace as hr

@hr.stage
def size(name: str) -> int:
    with open(name) as file:
        return len(file.read())

@hr.pipeline
def flow() -> None:
    size("/dev/null")
"""


def test_a_stage_that_opens_a_file_counts_in_a_notebook_as_in_a_file(tmp_path: Path) -> None:
    with lent(tmp_path) as project:
        project.write("pipelines.py", OPENS)
        *_, ran = play_in_kernel(project.root, OPENS, "print(flow.run()['size'].value(), flow.plan().tasks[0].notes)")
        assert "0 ()\n" in [output.get("text") for output in ran], ran
        script = project.headrace("run", "flow", "--json")
        assert script.task["size"]["state"] == "reused"
