"""Code of a notebook's cells reaches workers with its source: it has the keys of the same code in a file."""

from __future__ import annotations

import ast
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.notebooks import play
from tests.projects import COMMAND, Project, lent

CODE = '''
import headrace as hr

class Scaler:
    """What it is."""

    def apply(self, x):
        """What it does."""
        return x * 2

def helper(x):
    """What it does."""
    # why
    return Scaler().apply(x)

@hr.stage
def numbers(n: int) -> list[int]:
    """What it gives."""
    return [helper(each) for each in range(n)]

@hr.stage
def fail(x: list[int]) -> int:
    return helper(x) / 0

@hr.pipeline
def flow(n: int = 3) -> None:
    numbers(n)

@hr.pipeline
def failing(n: int = 3) -> None:
    fail(numbers(n))
'''
RUN = "run = flow.run()\nprint(run['numbers'].state, run['numbers'].reason)"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    with lent(tmp_path) as project:
        project.write("pipelines.py", CODE)
        return project


@pytest.fixture(scope="module")
def run_that_failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project in which a notebook's run has failed."""
    with lent(tmp_path_factory.mktemp("failed")) as project:
        project.write("pipelines.py", CODE)
        play(project.root, CODE, "failing.run()")
        return project.root


@pytest.fixture
def failed(run_that_failed: Path, project: Project) -> Project:
    """A project in which a notebook's run has failed."""
    shutil.copytree(run_that_failed / ".headrace", project.home)
    return project


def said(outputs: list[dict[str, object]]) -> str:
    return "".join(str(output["text"]) for output in outputs if output.get("name") == "stdout")


def test_a_notebook_and_a_script_of_the_same_code_share_keys_whatever_its_comments_say(project: Project) -> None:
    *_, first, changed_words, again, changed_code, once_more = play(
        project.root,
        CODE,
        RUN,
        CODE.replace("What it", "How it").replace("# why", "# because"),
        RUN,
        CODE.replace("x * 2", "x * 3"),
        RUN,
    )
    assert said(first).startswith("succeeded")
    assert not said(changed_words) + said(changed_code)
    assert said(again).startswith("reused")
    assert said(once_more).startswith("succeeded code changed: `notebook.Scaler`")
    script = project.headrace("run", "flow", "--json")
    assert script.code == 0, script.err
    assert script.task["numbers"]["state"] == "reused"


def test_the_lines_of_a_notebook_that_changed_are_shown_like_those_of_a_file(project: Project) -> None:
    changed = CODE.replace("n: int)", "n: int, more: int = 1)").replace("x * 2", "x * 3")
    play(project.root, CODE, "flow.run()", changed, "flow.run()")
    explained = project.headrace("explain", "latest", "numbers", "--json").json["differences"]
    diffs = {each["name"]: each["diff"] for each in explained}
    assert "+        return x * 3" in diffs["notebook.Scaler"]
    assert "+def numbers(n: int, more: int = 1) -> list[int]:" in diffs["notebook.numbers"]
    page = project.root / "compared.html"
    first, second = (run["run"] for run in project.headrace("runs", "--json").json["runs"])
    assert project.headrace("compare", first, second, "--to", str(page)).code == 0
    assert "return x * 3" in page.read_text()


def test_a_traceback_from_a_notebook_has_its_lines(failed: Project) -> None:
    told = failed.headrace("show", "--json").json
    shown = failed.headrace("logs", told["run"], "fail")
    assert "return helper(x) / 0" in shown.out, shown
    assert "TypeError" in shown.out
    assert 'File "In[1]", line ' in shown.out


def test_a_magic_in_a_stage_is_an_error_that_names_the_stage(project: Project) -> None:
    used = "@hr.stage\ndef counts() -> int:\n    names = !ls\n    return len(names)\n"
    kept = "shell = get_ipython()\n\n@hr.stage\ndef keeps() -> int:\n    return len(str(shell))\n"
    flows = "".join(f"@hr.pipeline\ndef of_{name}() -> None:\n    {name}()\n\n" for name in ("counts", "keeps"))
    *_, by_magic, by_value, outside = play(
        project.root,
        CODE,
        used,
        kept,
        flows,
        "of_counts.run()",
        "of_keeps.run()",
        "names = !echo 3\nflow.run(int(names[0]))",
    )
    told = "uses a magic, such as `%time` or `!ls`, or calls `get_ipython()`: workers have no IPython shell"
    assert by_magic[-1]["evalue"] == f"`counts` {told}"
    assert by_value[-1]["evalue"] == f"the pipeline {told}"
    assert "hint: use Python instead" in "".join(by_magic[-1]["traceback"])
    assert "ename" not in outside[-1]


def test_an_error_in_a_notebook_names_the_cell(project: Project) -> None:
    body = "@hr.pipeline\ndef broken() -> None:\n    1 / 0\n\n@hr.pipeline\ndef wrong() -> None:\n    numbers(n=[])\n"
    *_, in_body, in_call, in_stage = play(project.root, CODE, body, "broken.run()", "wrong.run()", "failing.run()")
    assert "the pipeline's body raised ZeroDivisionError: division by zero (In[2]:3)" in in_body[-1]["evalue"]
    assert "(In[2]:7)" in in_call[-1]["evalue"]
    line = CODE.strip().splitlines().index("    return helper(x) / 0") + 1
    assert f"(In[1]:{line})" in in_stage[-1]["evalue"]
    assert "for its tasks, `headrace logs" in "".join(in_stage[-1]["traceback"])


def test_an_interrupt_before_a_run_began_is_one_line_without_our_frames(project: Project) -> None:
    endless = "import time\n\n@hr.pipeline\ndef endless() -> None:\n    time.sleep(60)\n"
    begins = "import os, signal, threading\nthreading.Timer(3.0, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
    *_, shown = play(project.root, CODE, endless, f"{begins}endless.run()")
    assert shown[-1]["evalue"] == "interrupted, and the pipeline wasn't traced yet: no run began"
    told = "".join(shown[-1]["traceback"])
    assert told.startswith("KeyboardInterrupt: interrupted, ")
    assert "launcher.py" not in told


BUSY = """
import time

@hr.pipeline
def busy() -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pass

class Slow:
    def __reduce__(self):
        return time.sleep, (60,)

@hr.stage
def slow() -> Slow:
    return Slow()

@hr.pipeline
def slows() -> None:
    slow()
"""


def test_other_calls_that_are_interrupted_end_at_once_with_one_line_without_our_frames(project: Project) -> None:
    begins = (
        "import os, signal, threading\nbegun = time.monotonic()\n"
        "threading.Timer(3.0, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
    )
    *_, planned, after, loaded = play(
        project.root,
        CODE,
        f"{BUSY}slows.run()",
        f"{begins}busy.plan()",
        "print(time.monotonic() - begun)",
        f"{begins}hr.load('latest', 'slow')",
    )
    for shown, message in ((planned, "interrupted before the plan was made"), (loaded, "interrupted")):
        assert shown[-1]["evalue"] == message, shown
        assert "".join(shown[-1]["traceback"]) == f"KeyboardInterrupt: {message}\n"
    assert float(said(after)) < 5.0


def test_a_command_in_a_cell_shows_progress_as_lines_since_a_notebook_can_not_redraw(project: Project) -> None:
    (outputs,) = play(project.root, f"!NO_COLOR=1 {COMMAND} run flow")
    assert "succeeded numbers" in said(outputs)
    assert "\x1b" not in said(outputs)


EDITED = """
import rates
from rates import RATE, priced
import headrace as hr

@hr.stage
def in_file(n: int) -> int:
    return priced(n)

@hr.stage
def by_module(n: int) -> int:
    return n * rates.RATE

@hr.stage
def by_value(n: int) -> int:
    return n * RATE

@hr.pipeline
def prices(n: int = 3) -> None:
    in_file(n), by_module(n), by_value(n)
"""


def test_an_edited_file_counts_at_once_but_not_in_values_that_cells_have_copied(project: Project) -> None:
    rates = "RATE = 10\n\ndef priced(n):\n    return n * RATE\n"
    project.write("rates.py", rates)
    look = "run = prices.run()\nprint(*(run[name].value() for name in ('in_file', 'by_module', 'by_value')))"
    edit = f"open('rates.py', 'w').write({rates.replace('10', '20')!r}) and None"
    _, before, _, after = play(project.root, EDITED, look, edit, look)
    assert said(before) == "30 30 30\n"
    assert said(after) == "60 60 30\n"


def test_new_code_of_a_notebook_comes_only_from_the_notebook(failed: Project) -> None:
    failed.write("beside.py", "")
    before = failed.headrace("show", "--json").json
    for command in (["resume", "latest"], ["debug", "latest", "numbers"]):
        refused = failed.headrace(*command, "--new-code")
        assert refused.code == 2
        assert "is defined in a notebook, so `--new-code` can't find its present code" in refused.err
        assert "hint: run the pipeline again in the notebook; results that are still right are reused" in refused.err
        assert failed.headrace("show", "--json").json == before
    failed.write("pipelines.py", CODE + "# changed")
    again = failed.headrace("resume", "latest")
    assert again.code == 1
    assert "a new run from the notebook takes code and files as they are now" in again.err
    assert "if you have fixed code or a file, run the pipeline again in the notebook" in again.err
    assert "--new-code" not in again.err


COUNTING = """
@hr.stage(kind="ingest", cache=False)
def more(at: hr.Cursor) -> list[int]:
    first = at.value or 0
    hr.advance(at, first + 3)
    return list(range(first, first + 3))

@hr.pipeline
def counting() -> None:
    fail(more(hr.cursor("my/count")))
"""


def test_after_a_failed_run_of_a_notebook_the_hints_say_how_a_new_run_gets_the_rows_of_its_cursor(
    project: Project,
) -> None:
    *_, failed, missing = play(project.root, CODE, COUNTING, "counting.run()", "hr.load('latest', 'nothing')")
    rewinds = "unless you first set it back: `headrace rewind my/count --to-version 0`"
    assert rewinds in "".join(failed[-1]["traceback"])
    for words in ((), ("--new-code",)):
        assert rewinds in project.headrace("resume", "latest", *words).err, words
    told = "".join(missing[-1]["traceback"])
    assert "contextlib" not in told, told
    assert "In[4]" in told or "hr.load(" in told, told


def test_a_stage_of_a_notebook_is_debugged_with_the_code_of_its_run(failed: Project) -> None:
    assert failed.headrace("debug", "latest", "numbers").out == "[0, 2, 4]\n"
    shown = failed.headrace("debug", "latest", "fail")
    assert shown.code == 1
    assert "return helper(x) / 0" in shown.err


def test_a_librarys_object_reaches_workers_as_the_cells_left_it_and_counts_so(project: Project) -> None:
    stage = "@hr.stage\ndef at(x: int) -> int:\n    return int(LINE(x))\n\n@hr.pipeline\ndef line() -> None:\n    at(2)"
    look = "run = line.run()\nprint(run['at'].value(), run['at'].state)"
    _, first, again, _, changed = play(
        project.root,
        f"import numpy as np\nimport headrace as hr\nLINE = np.poly1d([1, 0])\n\n{stage}",
        look,
        look,
        "LINE.coeffs[:] = [9, 0]",
        look,
    )
    assert said(first) == "2 succeeded\n"
    assert said(again) == "2 reused\n"
    assert said(changed) == "18 succeeded\n"


WRAPPED = """
import functools
import headrace as hr

def doubled(function):
    @functools.wraps(function)
    def inner(value):
        return 2 * function(value)
    return inner

@functools.lru_cache(maxsize=50)
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

@functools.singledispatch
def size(value):
    return -1

@size.register
def _(value: str):
    return len(value){more}

@doubled
@functools.singledispatch
def twice(value):
    return -1

@twice.register
def _(value: str):
    return len(value){more}

def plain(value):
    return plain.dispatch

plain.dispatch = 7

@hr.stage
def both(n: int) -> list[int]:
    sizes = [size("four"), size(None), twice("four"), twice(None)]
    return [fibonacci(n), fibonacci.cache_parameters()["maxsize"], *sizes, plain(0)]

@hr.pipeline
def sizes() -> None:
    both(30)
"""


def test_functions_that_functools_wraps_reach_workers_from_a_notebook(project: Project) -> None:
    look = "run = sizes.run()\nprint(run['both'].value(), run['both'].state)"
    _, first, again, _, changed = play(
        project.root,
        WRAPPED.format(more=""),
        look,
        f"assert [size('called'), twice('called'), twice([])]\n{look}",
        WRAPPED.format(more=" + 1"),
        look,
    )
    assert said(first) == "[832040, 50, 4, -1, 8, -2, 7] succeeded\n"
    assert said(again) == "[832040, 50, 4, -1, 8, -2, 7] reused\n"
    assert said(changed) == "[832040, 50, 5, -1, 10, -2, 7] succeeded\n"


ODD = """
import copyreg
import headrace as hr

class Odd:
    def __reduce__(self):
        return getattr, (copyreg, "no_such")

ODD = Odd()

@hr.stage
def at() -> str:
    return str(ODD)

@hr.pipeline
def odd() -> None:
    at()
"""


def test_a_notebook_that_can_not_be_loaded_elsewhere_is_refused_with_the_reason(project: Project) -> None:
    *_, failed = play(project.root, ODD, "odd.run()")
    assert "can't be loaded in another process: AttributeError" in failed[-1]["evalue"]


AGAIN = """
import dataclasses

@dataclasses.dataclass
class Line:
    {field}: int = 1

@hr.stage
def first() -> Line:
    return Line()
"""
SECOND = """
@hr.stage
def second(line: Line) -> int:
    return 1

@hr.pipeline
def both() -> None:
    second(first())
"""


@pytest.mark.parametrize(("older", "kind"), [("first", "list[Line]"), ("second", "Line")])
def test_a_class_that_was_defined_again_is_named_as_the_reason_with_the_stage_that_has_the_older_one(
    project: Project, older: str, kind: str
) -> None:
    makes, takes = AGAIN.replace("-> Line", f"-> {kind}"), SECOND.replace("line: Line", f"line: {kind}")
    new, old = makes.format(field="new"), makes.format(field="old")
    only_class = new.partition("@hr.stage")[0]
    cells = [old, takes, new] if older == "second" else [old, only_class, takes]
    *_, refused = play(project.root, "import headrace as hr", *cells, "both.run()")
    assert f"gives `{kind.replace('Line', '__main__.Line')}`, but parameter `line` of `second` takes" in str(refused)
    told = (
        f"a notebook has defined the class again, and `{older}` uses the older class: run the cell of `{older}` again"
    )
    assert told in str(refused)


def test_a_notebook_without_settings_has_a_project_of_its_own_as_a_file_has(tmp_path: Path) -> None:
    play(tmp_path, CODE, "flow.run(n='none')", "flow.run()")
    assert (tmp_path / ".headrace/ledger.db").exists()
    inner = tmp_path / "inner"
    inner.mkdir()
    *_, ran, listed = play(inner, CODE, RUN, "print(len(hr.runs()))")
    assert said(ran).startswith("succeeded")
    assert said(listed) == "1\n"


def test_a_notebook_in_a_folder_below_sees_the_runs_and_outputs_of_the_project(project: Project) -> None:
    assert project.headrace("run", "flow").code == 0
    below = project.root / "below"
    below.mkdir()
    *_, seen = play(below, "import headrace as hr", "print(len(hr.runs()), hr.load('latest', 'numbers'))")
    assert said(seen) == "1 [0, 2, 4]\n"


def test_an_object_of_a_notebooks_class_is_loaded_where_the_class_is_defined(project: Project) -> None:
    _, ran = play(project.root, f"import headrace as hr\n{AGAIN.format(field='x')}\n{SECOND}", "print(both.run())")
    assert "succeeded" in said(ran), ran
    _, refused = play(project.root, "import headrace as hr", "hr.load('latest', 'first')")
    assert "the class `__main__.Line` of an artifact isn't defined here" in str(refused)
    assert "define the class before you load the artifact, or move it to a module" in str(refused)


IN_A_MODULE = """
import headrace as hr

FACTOR = 2

@hr.stage
def double(n: int) -> int:
    return n * FACTOR

class Kept:
    @hr.stage
    def triple(n: int) -> int:
        return n * 3

@hr.pipeline
def doubling(n: int) -> None:
    double(n)
"""
FROM_A_MODULE = """
import headrace as hr
from headrace.stages.prepare import split
import lib
from lib import double, doubling
import pyarrow as pa
again = lib.double.with_options(name="again")
stages = [lib.Kept.triple]

@hr.stage
def plus(n: int) -> int:
    return double(n) + 1

@hr.stage
def rows() -> pa.Table:
    return pa.table({"a": range(100)})

@hr.pipeline
def flow(n: int = 3) -> None:
    double(again(stages[0](n)))
    doubling(n)
    plus(n)
    split(rows(), seed=1)
"""


def test_stages_of_a_module_are_used_in_a_notebook_however_they_were_imported_and_count_so(project: Project) -> None:
    project.write("lib.py", IN_A_MODULE)
    look = "run = flow.run()\nprint([(task.name, task.value()) for task in run.tasks if isinstance(task.value(), int)])"
    *_, ran = play(project.root, FROM_A_MODULE, look)
    assert said(ran) == "[('triple', 9), ('again', 18), ('double', 36), ('double[1]', 6), ('plus', 7)]\n", ran
    project.write("pipelines.py", FROM_A_MODULE)
    script = project.headrace("run", "flow", "--json")
    assert {task["state"] for task in script.task.values()} == {"reused"}, script
    project.write("lib.py", IN_A_MODULE.replace("FACTOR = 2", "FACTOR = 10"))
    *_, ran = play(project.root, FROM_A_MODULE, look)
    assert "('plus', 31)" in said(ran), ran


def test_a_stage_imported_before_its_module_was_loaded_again_is_refused_with_what_to_do(project: Project) -> None:
    project.write("lib.py", IN_A_MODULE)
    *_, refused, _, ran = play(
        project.root,
        FROM_A_MODULE,
        "import importlib\nimportlib.reload(lib)",
        "flow.plan()",
        "from lib import double\n\n@hr.pipeline\ndef flow() -> None:\n    double(3)",
        "print(flow.run()['double'].value())",
    )
    assert "import a stage again after its module was loaded again" in str(refused)
    assert said(ran) == "6\n", ran


SECRETS = """
import os
import headrace as hr

os.environ["TOKEN"] = "text-of-the-token"
KEY = "text-of-a-key"
WORDS = ["text-of-words"]

class Base:
    limit = 3

class Scaler(Base):
    factor = 2

def twice(x):  # text-of-a-comment
    return x * Scaler.factor

def other():
    return KEY + "text-of-another"

@hr.stage
def sizes(token: str, note: str = "KEY and WORDS") -> list[int]:
    return [twice(len(token)), Scaler.limit]

@hr.pipeline
def flow() -> None:
    sizes(hr.secret("TOKEN"))
"""


def test_of_a_notebook_only_the_statements_that_the_pipeline_reaches_are_stored(project: Project) -> None:
    project.write("pipelines.py", "")
    *_, ran = play(project.root, 'PATIENTS = ["text-of-patients"]', SECRETS, "print(flow.run()['sizes'].value())")
    assert said(ran) == "[34, 3]\n", ran
    [cells] = project.root.glob(".headrace/store/bundles/*/__notebook__.json")
    [text] = json.loads(cells.read_text()).values()
    kept = [line for line in SECRETS.splitlines() if line in text.splitlines()]
    assert [line for line in kept if line] == [
        line
        for line in SECRETS.splitlines()
        if line and not any(word in line for word in ("import", 'token"', "KEY =", "WORDS =", "other", "KEY +"))
    ]
    stored = b"".join(path.read_bytes() for path in project.root.rglob(".headrace/**/*") if path.is_file())
    assert set(re.findall(rb"text-of-[a-z-]+", stored)) == {b"text-of-a-comment"}


SHARED = """\
import io
import headrace as hr

class Base: limit = 3
PIN = "text-of-a-pin"; MANY = io.StringIO("ä+"); TOKEN = "text-of-a-token"; FEW = io.StringIO("b"); AFTER = [
    "text-of-after"]
NAME = "text-of-ä-name"; add = lambda x: x + 1; key = lambda: "text-of-a-key"
OTHER = "text-of-another"; SIZES = io.StringIO(
    "ä"); LAST = "text-of-last"

@hr.stage
def sizes(x: int) -> list[int]:
    return [add(x), Base.limit, len(MANY.getvalue()), len(FEW.getvalue()), len(SIZES.getvalue())]

@hr.pipeline
def flow() -> None:
    sizes(1)
"""
KEPT = """\
class Base: limit = 3
0                     ;MANY = io.StringIO("ä+")                            ;FEW = io.StringIO("b")

0                        ;add = lambda x: x + 1
0                         ;SIZES = io.StringIO(
    "ä")"""


@pytest.mark.parametrize("code_has_columns", [True, False])
def test_of_statements_on_one_line_only_those_that_the_pipeline_reaches_are_stored(
    project: Project, monkeypatch: pytest.MonkeyPatch, code_has_columns: bool
) -> None:
    if not code_has_columns:
        monkeypatch.setenv("PYTHONNODEBUGRANGES", "1")
    project.write("pipelines.py", "")
    look = "run = flow.run()\nprint(run['sizes'].value())"
    _, ran = play(project.root, SHARED, look)
    assert said(ran) == "[2, 3, 2, 1, 1]\n", ran
    [cells] = project.root.glob(".headrace/store/bundles/*/__notebook__.json")
    [text] = json.loads(cells.read_text()).values()
    assert ast.parse(text)
    assert "\n".join(text.splitlines()[3:9]) == KEPT
