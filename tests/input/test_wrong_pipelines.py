"""Pipelines that can't be run as they are written: one message with its place and a hint, before anything runs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.projects import Done, Project, check_error, check_json_error


@dataclass(frozen=True)
class Wrong:
    """A file that is wrong, the words of the command behind it, and what the error has to say."""

    text: str
    parts: tuple[str, ...]
    hint: str
    words: tuple[str, ...] = ()
    code: int = 2
    error: str = ""


def wrong(body: str, *parts: str, hint: str, words: str = "", code: int = 2, error: str = "") -> Wrong:
    """A file that is wrong, below `import headrace as hr` in its first line."""
    return Wrong(f"import headrace as hr\n{textwrap.dedent(body)}", parts, hint, tuple(words.split()), code, error)


def wired(body: str, *parts: str, hint: str, error: str = "TraceError") -> Wrong:
    """A pipeline whose body wires wrongly, in line 27 of its file."""
    text = f"{STAGES}\n@hr.pipeline\ndef flow() -> None:\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
    return Wrong(text, parts, hint, error=error)


def declared(how: str, *parts: str, hint: str, code: int = 2, error: str = "DefinitionError") -> Wrong:
    """A stage that is declared wrongly, in line 2 of its file."""
    return wrong(
        f"""\
        @hr.stage({how})
        def one(n: int = 1) -> int:
            return n
        @hr.pipeline
        def flow() -> None:
            one()
        """,
        *parts,
        hint=hint,
        code=code,
        error=error,
    )


def asked(words: str, *parts: str, hint: str) -> Wrong:
    """Parameters that the pipeline doesn't take as they are given."""
    return wrong(ASKING, *parts, hint=hint, words=words, error="UsageError")


STAGES = """\
import threading
import headrace as hr
class Box:
    def __init__(self, inside): self.inside = inside
@hr.stage
def word() -> str: return "a"
@hr.stage
def number() -> int: return 1
@hr.stage
def numbers() -> list[int]: return [1]
@hr.stage
def one(n: int) -> int: return n
@hr.stage
def total(n: list[int], depth: int = 1) -> int: return sum(n)
@hr.stage
def pair(left: int, right: int) -> int: return left + right
@hr.stage
def anything(x=None) -> int: return 1
@hr.stage
def reads(file: hr.File) -> int: return 1
@hr.stage
def rest(*n: int) -> int: return sum(n)

"""

ASKING = """\
import datetime
from typing import Literal
@hr.stage
def one(n: int) -> int:
    return n
@hr.pipeline
def flow(
    month: int, depths: list[int] = [], fast: bool = False, mode: Literal["a", "b"] = "a",
    day: datetime.date = datetime.date(2026, 1, 1), share: float = 0.5,
) -> None:
    one(month)
"""

CASES: dict[str, Wrong] = {
    # the file
    "a syntax error": wrong("def one( -> int:\n    pass", "can't import", "invalid syntax", ":2)", hint="fix the line"),
    "a wrong indent": wrong("def flow():\nx = 1", "expected an indented block", ":3)", hint="fix the line"),
    "a null byte": wrong("x = 1\0", "null byte", hint="fix the line"),
    "a package that isn't there": wrong("import nowhere_to_be_found", "nowhere_to_be_found", ":2)", hint="install"),
    "a name that isn't there": wrong("from os import nothing_such", "nothing_such", ":2)", hint="import"),
    "an error while importing": wrong("x = 1 / 0", "ZeroDivisionError: division by zero", ":2)", hint="side effects"),
    "an exit while importing": wrong("raise SystemExit(3)", "SystemExit: 3", ":2)", hint="side effects"),
    "an end while importing": wrong("import os\nos._exit(3)", "died", "exit code 3", hint="when it is imported"),
    "a crash while importing": wrong(
        "import ctypes\nctypes.string_at(0)", "segmentation fault", hint="when it is imported"
    ),
    "a run while importing": wrong(
        "@hr.pipeline\ndef flow(): pass\nflow.run()", "`flow.run()`", "imported", ":4)", hint="__main__"
    ),
    "modules that import each other": wrong("import circle\nname = 1", "partially", "circle.py:1", hint="each other"),
    "no pipeline in it": wrong("x = 1", "there is no pipeline `flow`", hint="@hr.pipeline"),
    "another pipeline in it": wrong("@hr.pipeline\ndef flew(): pass", "no pipeline `flow`", hint="`flew`"),
    "a plain function for a pipeline": wrong("def flow(): pass", "no pipeline `flow`", hint="@hr.pipeline"),
    # pipelines and stages
    "a cycle": wrong(
        """\
        @hr.pipeline
        def flow() -> None:
            other()
        @hr.pipeline
        def other() -> None:
            flow()
        """,
        "flow -> other -> flow",
        ":7)",
        hint="can't call itself",
        error="TraceError",
    ),
    "two stages of one name": wrong(
        """\
        @hr.stage
        def one(n: int) -> int:
            return n
        @hr.stage
        def one(n: int) -> int:
            return n + 1
        """,
        "two stages `one`",
        "lines 2 and 5",
        hint="another name",
        error="DefinitionError",
    ),
    "a lambda": wrong(
        "one = hr.stage(lambda: 1)\n@hr.pipeline\ndef flow(): one()", "lambda", ":4)", hint="top level of a module"
    ),
    "a stage inside of a pipeline": wrong(
        "@hr.pipeline\ndef flow():\n    @hr.stage\n    def one(): pass\n    one()", ":6)", hint="top level of a module"
    ),
    "a class for a stage": wrong("@hr.stage\nclass One: pass", "is not a function", ":2)", hint="above a `def`"),
    "a stage twice": wrong("@hr.stage\n@hr.stage\ndef one(): pass", "a stage already", ":2)", hint="once"),
    "a stage with a parameter of ours": wrong("@hr.stage\ndef one(when): pass", "`when`", ":2)", hint="rename"),
    "a generator that says not of what": wrong("@hr.stage\ndef one(): yield 1", "doesn't say what", hint="Iterator"),
    "an asynchronous pipeline that yields": wrong(
        "@hr.pipeline\nasync def flow(): yield", "asynchronous or a generator", ":2)", hint="without `yield`"
    ),
    "an asynchronous pipeline": wrong(
        "@hr.pipeline\nasync def flow(): pass", "asynchronous", ":2)", hint="plain `def`"
    ),
    # declarations
    "negative retries": declared("retries=-1", "retries=-1", ":2)", hint="0 or more"),
    "half a retry": declared("retries=1.5", "retries=1.5", ":2)", hint="whole number"),
    "a billion retries": declared("retries=10**9", "retries=1000000000", hint="1000 or fewer"),
    "a negative timeout": declared("timeout=-1", "timeout=-1 s", ":2)", hint="above 0"),
    "a timeout that is not a number": declared("timeout=float('nan')", "`timeout` is nan", hint="seconds"),
    "a timeout in strange words": declared("timeout='soon'", "'soon'", ":2)", hint="1h30m"),
    "an endless backoff": declared("backoff=float('inf')", "`backoff` is inf", hint="seconds"),
    "negative cpus": declared("resources=hr.Resources(cpu=-1)", "`cpu` is -1", ":2)", hint="above 0"),
    "cpus that are no number": declared("resources=hr.Resources(cpu=float('nan'))", "`cpu` is nan", hint="above 0"),
    "a billion cpus": declared("resources=hr.Resources(cpu=10**9)", "1000000000", hint="up to 4096"),
    "cpus in words": declared("resources=hr.Resources(cpu='4')", "`cpu` is '4'", hint="a number"),
    "negative memory": declared("resources=hr.Resources(memory_gib=-1)", "`memory_gib` is -1", hint="GiB"),
    "memory that is not a number": declared("resources=hr.Resources(memory_gib=float('nan'))", "is nan", hint="GiB"),
    "memory in words": declared("resources=hr.Resources(memory_gib='4G')", "'4G'", ":2)", hint="GiB"),
    "a gpu of no count": declared("resources=hr.Resources(gpu='x')", "`gpu` is 'x'", ":2)", hint="A100:1"),
    "a gpu as a number": declared("resources=hr.Resources(gpu=1)", "`gpu` is 1", hint='"1"'),
    "a gpu count of a thousand digits": declared("resources=hr.Resources(gpu='9' * 5000)", "999...", hint="A100:1"),
    "half a node": declared("resources=hr.Resources(nodes=1.5)", "`nodes` is 1.5", hint="whole number"),
    "resources as a dictionary": declared("resources={'cpu': 4}", "resources={'cpu': 4}", hint="hr.Resources(cpu=4"),
    "an unknown resource": declared("resources=hr.Resources(cpus=4)", "'cpus'", hint="`cpu`", error="ProjectError"),
    "an unknown word of a declaration": declared("retry=3", "no `retry`", ":2)", hint="did you mean `retries`?"),
    "an unknown kind": declared("kind='tran'", "kind='tran'", hint="train"),
    "an unknown cache": declared("cache='no'", "cache='no'", hint='True, False or "run"'),
    "a name with a space": declared("name='a b'", "'a b'", hint="letters, digits"),
    # what no pool can hold
    "more cpus than there are": declared(
        "resources=hr.Resources(cpu=4000)",
        "`one` (cpu=4000)",
        "it has",
        hint="[pool.NAME]",
        code=4,
        error="PlacementError",
    ),
    "more memory than there is": declared(
        "resources=hr.Resources(memory_gib=60000)", "GiB of memory", hint="lower", code=4, error="PlacementError"
    ),
    "a gpu that isn't there": declared(
        "resources=hr.Resources(gpu='A100:1')", "gpu=A100:1", "no gpu", hint="lower", code=4, error="PlacementError"
    ),
    # wiring
    "an output of another type": wired(
        "one(\n    word()\n)",
        "`word` gives `str`",
        "`n` of `one` takes `int`",
        ":27)",
        hint="annot",
        error="EdgeTypeError",
    ),
    "an output of another list type": wired(
        "total([word()])",
        "`word` gives `str`",
        "`n` of `total` takes `list[int]`",
        hint="between",
        error="EdgeTypeError",
    ),
    "a constant of another type": wired(
        "one('three')", "`n` of `one` takes `int`", "`'three'`, a `str`", ":27)", hint="change", error="EdgeTypeError"
    ),
    "one of many constants of another type": wired(
        "total([1] * 1000 + ['three'])", "`list[int]`", "'three'", ":27)", hint="change", error="EdgeTypeError"
    ),
    "an element of another type": wired(
        "one.map([1, 2, 'three'])", "takes `int`", "`'three'`, a `str`", ":27)", hint="change", error="EdgeTypeError"
    ),
    "one of several of another type": wired(
        "rest(1, 'two')", "`*n` of `rest` takes `int`", "'two'", hint="change", error="EdgeTypeError"
    ),
    "several outputs where one of them is meant": wrong(
        """\
        from typing import NamedTuple
        class Read(NamedTuple):
            rows: int
            name: str
            more: int
        @hr.stage
        def read() -> Read: return Read(1, "a", 2)
        @hr.stage
        def one(n: int) -> int: return n
        @hr.pipeline
        def flow() -> None:
            one(read())
        """,
        ".Read`, but parameter `n` of `one` takes `int`",
        hint="give one of its fields: `.rows`, `.more`",
        error="EdgeTypeError",
    ),
    "an output where one of its fields is meant": wrong(
        """\
        from dataclasses import dataclass
        @dataclass
        class Read:
            rows: int
            name: str
        @hr.stage
        def read() -> Read: return Read(1, "a")
        @hr.stage
        def one(**n: int | None) -> int: return 1
        @hr.pipeline
        def flow() -> None:
            one(first=read())
        """,
        ".Read`, but parameter `first` of `one` takes `",
        hint="give its field `.rows`",
        error="EdgeTypeError",
    ),
    "a condition that is none": wired("one(1, when=3)", "`when=` of `one` is 3", ":27)", hint="plain `if`"),
    "a condition of another type": wired(
        "one(1, when=word())", "takes a boolean", "`word` gives `str`", ":27)", hint="boolean", error="EdgeTypeError"
    ),
    "a missing argument": wired("pair(1)", "`pair` needs `right`", ":27)", hint="pair(left: int, right: int)"),
    "a superfluous argument": wired("total([1], deptj=3)", "`deptj`", ":27)", hint="did you mean `depth`?"),
    "an argument too many": wired("one(1, 2)", "too many", ":27)", hint="one(n: int)"),
    "an option that isn't one": wired("one(1, whne=True)", "`whne`", ":27)", hint="did you mean `when`?"),
    "a map over nothing": wired("one.map(3)", "no list to map over", ":27)", hint="give a list"),
    "a map over no argument": wired("anything.map()", "no list to map over", ":27)", hint="give a list"),
    "a map over no list": wired("one.map(number())", "no list to map over", ":27)", hint="returns one"),
    "a map over lists of two lengths": wired(
        "pair.map([1, 2], [3])", "`left` has 2, `right` has 1", hint="equally long"
    ),
    "a negative allowance": wired("one.map([1], allow_failures=-1)", "-1", ":27)", hint="from 0"),
    "an allowance at a plain call": wired("one(1, allow_failures=1)", "plain call", ":27)", hint="`.map()`"),
    "an output as a condition": wired("if one(1):\n    pass", "no truth", ":27)", hint="`when=`"),
    "an output as a number": wired("one(1) + 1", "no value to compute with", ":27)", hint="`.value()`"),
    "an output as a list": wired("for each in numbers():\n    pass", "no length", ":27)", hint="`.map()`"),
    "a field that isn't known": wired("one(1).name", "no `.name`", ":27)", hint="NamedTuple"),
    "an output in an object": wired("anything(Box(number()))", "`number` is inside a value", ":27)", hint="lists"),
    "an output in another thread": wired(
        """\
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor() as pool:
            pool.submit(one, number()).result()
        """,
        "`one` was called outside a pipeline, and an argument is a handle",
        hint="inside the pipeline",
    ),
    "a run in a pipeline": wired("flow.run()", "`flow.run()` was called inside a pipeline", hint="`flow(...)`"),
    "a value of no codec": wired(
        "anything(threading.Lock())", "argument `x` of `anything`", ":27)", hint="in the stage", error="CodecError"
    ),
    "a generator": wired("anything(i for i in [])", "generator", ":27)", hint="return a list", error="CodecError"),
    "a list in itself": wired("x = []\nx.append(x)\nanything(x)", "itself", hint="cycle", error="CodecError"),
    "a list too deep": wired(
        "x = []\nfor _ in range(5000):\n    x = [x]\nanything(x)", "too deep", hint="flatter", error="CodecError"
    ),
    "a file that isn't there": wired(
        "reads(hr.File('no.csv'))", "`no.csv`", hint="project's folder", error="UsageError"
    ),
    "a secret of a strange name": wired("one(hr.secret('a b'))", "'a b'", hint="environment", error="DefinitionError"),
    "an error in the body": wired("{}['x']", "KeyError: 'x'", ":27)", hint="only wires stages", error="UsageError"),
    "an error in odd characters": wired(
        "raise ValueError('\\ud800 \\x1b[31m')", "ud800", hint="only", error="UsageError"
    ),
    "an endless recursion": wired("f = lambda: f()\nf()", "RecursionError", ":27)", hint="only", error="UsageError"),
    # parameters
    "a missing parameter": asked("", "`flow` needs `month`", hint="--month 3"),
    "a superfluous parameter": asked("--month 1 --mnoth 3", "no parameter `mnoth`", hint="did you mean `month`?"),
    "a strange parameter": asked("--month 1 --zzz 3", "no parameter `zzz`", hint="it has `month`"),
    "a number in words": asked("--month three", "`month`", "'three', which can't be read as `int`", hint="--month 3"),
    "half a month": asked("--month 3.5", "'3.5', which can't be read as `int`", hint="--month 3"),
    "a list without brackets": asked(
        "--month 1 --depths 3,4", "which can't be read as `list[int]`", hint="--depths '[1, 2]'"
    ),
    "a doubtful boolean": asked("--month 1 --fast maybe", "'maybe', which can't be read as `bool`", hint="true"),
    "a word of others": asked("--month 1 --mode c", "'c', which can't be read as `Literal", hint="`--mode a` or `b`"),
    "a day of no calendar": asked(
        "--month 1 --day 31.12.", "which can't be read as `datetime.date`", hint="2025-12-31"
    ),
}


@pytest.fixture(scope="module")
def told(shared: Project, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Done]]]:
    """What the command has said of each case that is tested; a few are run at a time."""
    tested = {
        item.callspec.params.get("name")
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    }
    shared.write("circle.py", "from wrong_modules_that_import_each_other import name")
    with ThreadPoolExecutor(3) as pool:
        yield {name: pool.submit(tell, shared, name) for name in CASES if name in tested}
        pool.shutdown(cancel_futures=True)


def tell(shared: Project, name: str) -> Done:
    file = f"wrong_{name.replace(' ', '_')}.py"
    (shared.root / file).write_text(CASES[name].text)
    return shared.headrace("run", f"{file}:flow", "--json", *CASES[name].words)


@pytest.mark.parametrize("name", CASES)
def test_it_is_told_before_anything_runs(told: dict[str, Future[Done]], name: str) -> None:
    case = CASES[name]
    check_json_error(told[name].result(), case.code, *case.parts, hint=case.hint, error=case.error)


def test_none_of_it_has_left_a_run(shared: Project) -> None:
    assert shared.headrace("runs", "--json").json == {"runs": []}
    assert not list((shared.home / "store").glob("workers/*"))


SOME = ["a syntax error", "an output of another type", "more cpus than there are", "a missing parameter"]


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize("name", SOME)
def test_run_and_plan_tell_it_as_text_too(shared: Project, command: str, name: str) -> None:
    case = CASES[name]
    (shared.root / "wrong.py").write_text(case.text)
    done = shared.headrace(command, "wrong.py:flow", *case.words)
    assert done.out == ""
    check_error(done, case.code, *case.parts, hint=case.hint)


def test_a_detached_run_tells_it_before_it_leaves(shared: Project) -> None:
    case = CASES["an output of another type"]
    (shared.root / "wrong.py").write_text(case.text)
    check_error(shared.headrace("run", "wrong.py:flow", "--detach"), 2, *case.parts, hint=case.hint)
