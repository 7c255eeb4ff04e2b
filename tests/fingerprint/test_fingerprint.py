"""What a fingerprint tells beside its digest, and that it is the same however the code was loaded."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from textwrap import dedent
from threading import Barrier, Thread
from types import ModuleType
from typing import Any

import pytest

import headrace as hr
from headrace.fingerprint.fingerprint import fingerprint, fingerprint_class
from headrace.fingerprint.project import Project
from headrace.fingerprint.source.normal_form import ANY_DEPTH, deep
from headrace.spec.code import Code

ROOT = Path(__file__).parents[2]


class Workshop:
    """A project in a folder, whose modules are imported afresh and forgotten when the test ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = self.folder / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text), encoding="utf-8")
        importlib.invalidate_caches()

    def load(self, name: str) -> ModuleType:
        return importlib.import_module(name)

    def code(self, function: Any) -> Code:
        return fingerprint(function, Project([self.folder]))


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield Workshop(tmp_path)
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_parts_say_what_is_reached_and_where(workshop: Workshop) -> None:
    workshop.write(
        helpers="""
        DEPTH = 6


        class Scaler:
            def apply(self, x):
                return x * DEPTH


        def clean(x):
            return Scaler().apply(x)
        """,
        pipelines="""
        import msgspec
        from helpers import clean


        def fit(x):
            return msgspec.json.encode(clean(x))
        """,
    )
    code = workshop.code(workshop.load("pipelines").fit)
    told = [(part.kind, part.name, part.where, part.text) for part in code.parts]
    assert told == [
        ("function", "pipelines.fit", "pipelines.py:6-7", None),
        ("class", "helpers.Scaler", "helpers.py:5-7", None),
        ("constant", "helpers.DEPTH", "helpers.py:2-2", "6"),
        ("distribution", "msgspec", None, importlib.import_module("msgspec").__version__),
        ("environment", "cpython", None, f"{sys.version_info[0]}.{sys.version_info[1]}"),
        ("function", "helpers.clean", "helpers.py:10-11", None),
    ]
    assert len(code.digest) == 64
    assert code.notes == ()
    assert code.uncached is None


def test_only_the_part_that_changed_has_another_digest(workshop: Workshop) -> None:
    text = "DEPTH = 6\n\ndef clean(x):\n    return x * DEPTH\n\ndef fit(x):\n    return clean(x)\n"
    parts = []
    for version in (text, text.replace("= 6", "= 7"), text.replace("x *", "x +")):
        workshop.write(pipelines=version)
        parts.append({part.name: part.digest for part in workshop.code(workshop.load("pipelines").fit).parts})
        del sys.modules["pipelines"]
    assert {name for name in parts[0] if parts[0][name] != parts[1][name]} == {"pipelines.DEPTH"}
    assert {name for name in parts[0] if parts[0][name] != parts[2][name]} == {"pipelines.clean"}


def test_swapped_aliases_show_in_the_part_that_uses_them(workshop: Workshop) -> None:
    workshop.write(helpers="def a(x):\n    return x\n\ndef b(x):\n    return -x\n")
    parts = []
    for aliases in ("a as x, b as y", "b as x, a as y"):
        workshop.write(pipelines=f"from helpers import {aliases}\n\ndef fit(z):\n    return x(y(z))\n")
        parts.append({part.name: part.digest for part in workshop.code(workshop.load("pipelines").fit).parts})
        del sys.modules["pipelines"]
    assert {name for name in parts[0] if parts[0][name] != parts[1][name]} == {"pipelines.fit"}


def test_long_constants_are_told_in_short(workshop: Workshop) -> None:
    constants = "LONG = 'a' * 1000\nMANY = list(range(1000))\nHOME = __file__\n"
    workshop.write(pipelines=f"{constants}\ndef fit(x):\n    return LONG, MANY, HOME\n")
    told = {part.name: part.text or "" for part in workshop.code(workshop.load("pipelines").fit).parts}
    assert max(map(len, told.values())) <= 200
    assert told["pipelines.MANY"] == "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...]"
    assert told["pipelines.HOME"] == "'./pipelines.py'"


def test_a_stage_object_and_its_function_have_one_digest(workshop: Workshop) -> None:
    workshop.write(pipelines="import headrace as hr\n\n@hr.stage(retries=3)\ndef fit(x: int) -> int:\n    return x\n")
    stage = workshop.load("pipelines").fit
    assert workshop.code(stage) == workshop.code(stage.function)


def test_a_module_that_is_run_has_the_digests_that_it_has_when_imported(workshop: Workshop) -> None:
    workshop.write(
        pipelines=f"""
        import logging
        import sys
        from dataclasses import dataclass

        sys.path.insert(0, {str(ROOT / "src")!r})
        log = logging.getLogger(__name__)

        @dataclass
        class Row:
            x: int = 1

            def make(self):
                return Row(self.x)

        ROW = Row(3)

        def fit(row: Row) -> Row:
            log.info(__name__)
            return ROW.make()

        if __name__ == "__main__":
            from pathlib import Path
            from headrace.fingerprint.fingerprint import fingerprint, fingerprint_class
            from headrace.fingerprint.project import Project

            project = Project([Path(__file__).parent])
            print(fingerprint(fit, project).digest, fingerprint_class(Row, project))
        """
    )
    module = workshop.load("pipelines")
    expected = [workshop.code(module.fit).digest, fingerprint_class(module.Row, Project([workshop.folder]))]
    for command in (["pipelines.py"], ["-m", "pipelines"], [str(workshop.folder / "pipelines.py")]):
        out = subprocess.run(
            [sys.executable, *command], cwd=workshop.folder, check=True, capture_output=True, text=True
        )
        assert out.stdout.split() == expected


def test_what_ran_before_does_not_count(workshop: Workshop) -> None:
    workshop.write(
        late="DEPTH = 2\n\ndef clean(x):\n    return x * DEPTH\n",
        pipelines="""
        import functools

        @functools.cache
        def known(x):
            return x

        def fit(x):
            from late import clean
            return clean(known(x))
        """,
    )
    fit = workshop.load("pipelines").fit
    before = workshop.code(fit)
    assert fit(2) == 4
    assert workshop.code(fit) == before


def test_what_is_loaded_already_does_not_count(workshop: Workshop, tmp_path: Path) -> None:
    packages = tmp_path / "site-packages"
    (packages / "lib-1.0.dist-info").mkdir(parents=True)
    (packages / "lib-1.0.dist-info" / "METADATA").write_text("Name: lib\nVersion: 1.0\n", encoding="utf-8")
    (packages / "lib-1.0.dist-info" / "RECORD").write_text("lib/__init__.py,,\n", encoding="utf-8")
    (packages / "lib").mkdir()
    (packages / "lib" / "__init__.py").write_text("class Base:\n    text = __doc__\n", encoding="utf-8")
    sys.path.insert(0, str(packages))
    workshop.write(
        models="import lib\n\nclass Model(lib.Base):\n    '''What it is.'''\n",
        inner__deep="def go(x):\n    return x\n",
        pipelines="""
        import logging

        log = logging.getLogger("inner.deep")

        def fit(x):
            import lib
            import inner.deep
            from models import Model
            from importlib import import_module
            return lib.Base, Model, inner.deep.go(x), import_module("models"), log
        """,
    )
    try:
        fit = workshop.load("pipelines").fit
        before = workshop.code(fit)
        assert not {"lib", "models", "inner"} & set(sys.modules)
        fit(1)
        assert set(sys.modules) >= {"lib", "models", "inner"}
        assert workshop.code(fit) == before
        assert "lib" in [part.name for part in before.parts if part.kind == "distribution"]
    finally:
        sys.path.remove(str(packages))


def test_fingerprint_of_a_class(workshop: Workshop) -> None:
    workshop.write(models="class Model:\n    def apply(self, x):\n        return x\n")
    digits = fingerprint_class(workshop.load("models").Model, Project([workshop.folder]))
    assert digits is not None
    assert len(digits) == 12
    assert int(digits, 16) >= 0


@pytest.mark.parametrize("cls", [int, dict, Path, Project, ModuleType])
def test_a_class_that_is_not_the_projects_has_no_fingerprint(cls: type, tmp_path: Path) -> None:
    assert fingerprint_class(cls, Project([tmp_path])) is None


def test_a_ready_made_stage_counts_by_its_version(workshop: Workshop) -> None:
    workshop.write(pipelines="from headrace.define.now import now\n\ndef fit(x):\n    return now()\n")
    now = importlib.import_module("headrace.define.now").now
    fit = workshop.load("pipelines").fit
    plain = workshop.code(fit).digest
    now.__headrace_name__ = "headrace.now"
    try:
        now.__headrace_version__ = "1"
        first = workshop.code(fit)
        now.__headrace_version__ = "2"
        second = workshop.code(fit)
    finally:
        del now.__headrace_version__, now.__headrace_name__
    assert len({plain, first.digest, second.digest}) == 3
    assert [part.text for part in first.parts if part.name == "headrace.now"] == ["1"]


def test_a_ready_made_stage_counts_by_the_libraries_that_it_stands_on(workshop: Workshop) -> None:
    workshop.write(pipelines="from headrace.define.now import now\n\ndef fit(x):\n    return now()\n")
    now = importlib.import_module("headrace.define.now").now
    fit = workshop.load("pipelines").fit
    try:
        now.__headrace_name__ = "headrace.now"
        now.__headrace_version__ = 1
        now.__headrace_stands_on__ = ("pyarrow",)
        found = workshop.code(fit)
    finally:
        del now.__headrace_name__, now.__headrace_version__, now.__headrace_stands_on__
    assert [part.text for part in found.parts if part.name == "pyarrow"] == [metadata.version("pyarrow")]


def test_a_chain_of_3000_functions(workshop: Workshop) -> None:
    lines = [f"def f{n}(x):\n    return f{n + 1}(x) + {n}\n" for n in range(3000)]
    workshop.write(pipelines="\n".join([*lines, "def f3000(x):\n    return x\n"]))
    assert len(workshop.code(workshop.load("pipelines").f0).parts) == 3002


def test_an_expression_that_is_as_deep_as_python_allows(workshop: Workshop) -> None:
    deep = " + ".join(["x"] * 900)
    workshop.write(pipelines=f"def fit(x):\n    return {deep}\n\ndef score(x):\n    return {deep} + 1\n")
    module = workshop.load("pipelines")
    assert workshop.code(module.fit).digest != workshop.code(module.score).digest


LAZY = {
    "a module that is imported when it is first used": """
        def __getattr__(name):
            if name == "inner":
                import lazy.inner
                return lazy.inner
            raise AttributeError(name)
        """,
    "a name that is kept when it was first used": """
        def __getattr__(name):
            from lazy.inner import go
            globals()["inner"] = inner = type("Inner", (), {"go": staticmethod(go)})
            return inner
        """,
    "a name that type checkers see": """
        from typing import TYPE_CHECKING

        if TYPE_CHECKING:
            from lazy import inner

        def __getattr__(name):
            import lazy.inner
            return lazy.inner
        """,
    "a name among many that type checkers see": "\n".join(
        [
            "from typing import TYPE_CHECKING",
            "if TYPE_CHECKING:",
            *(f"    from lazy.part{number} import name{number}" for number in range(100)),
            "    from lazy import inner",
            "def __getattr__(name):",
            "    import lazy.inner",
            "    return lazy.inner",
        ]
    ),
    "a module of another class": """
        import sys
        import types

        class Lazy(types.ModuleType):
            def __getattr__(self, name):
                import lazy.inner
                return lazy.inner

        sys.modules[__name__].__class__ = Lazy
        """,
}


@pytest.mark.parametrize("lazy", LAZY.values(), ids=LAZY)
def test_what_a_lazy_library_has_loaded_by_now_is_nothing_to_the_digest(workshop: Workshop, lazy: str) -> None:
    library = workshop.folder / "venv" / "site-packages" / "lazy"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text("from lazy.eager import now\n" + dedent(lazy))
    (library / "eager.py").write_text("now = max\n")
    (library / "inner.py").write_text("def go(x):\n    return x\n")
    workshop.write(
        pipelines="""
        import lazy

        def fit(x):
            return lazy.inner.go(lazy.now(x, x))
        """
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(workshop.folder / "venv" / "site-packages"))
        function = workshop.load("pipelines").fit
        before = workshop.code(function)
        assert function(3) == 3  # now it is loaded
        assert workshop.code(function).digest == before.digest


def test_a_lazy_package_of_the_project_is_followed_to_its_modules(workshop: Workshop) -> None:
    digests = []
    for step in (1, 2):
        workshop.write(
            lazy__inner=f"def go(x):\n    return x + {step}\n",
            pipelines="import lazy.inner\n\n\ndef fit(x):\n    return lazy.inner.go(x)\n",
        )
        (workshop.folder / "lazy" / "__init__.py").write_text(
            "def __getattr__(name):\n    raise AttributeError(name)\n"
        )
        for name in ("pipelines", "lazy", "lazy.inner"):
            sys.modules.pop(name, None)
        digests.append(workshop.code(workshop.load("pipelines").fit).digest)
    assert digests[0] != digests[1]


def test_threads_that_visit_deep_trees_at_the_same_time_leave_the_limit_of_recursion_as_it_was() -> None:
    before, inside = sys.getrecursionlimit(), Barrier(2)

    def first() -> None:
        with deep():
            inside.wait()  # the second is inside too
            inside.wait()  # the main thread has looked

    thread = Thread(target=first)
    with deep():  # it is entered first and left first
        thread.start()
        inside.wait()
    assert sys.getrecursionlimit() >= ANY_DEPTH  # the other thread is still inside
    inside.wait()
    thread.join()
    assert sys.getrecursionlimit() == before


def test_a_pattern_of_thousands_of_words_is_no_type(workshop: Workshop) -> None:
    words = "|".join(f"word{number}" for number in range(5_000))
    workshop.write(pipelines=f"import re\n\n\ndef fit(x):\n    return re.findall('{words}', x)\n")
    assert workshop.code(workshop.load("pipelines").fit).parts[0].name == "pipelines.fit"


def test_a_function_without_source_counts_as_compiled(workshop: Workshop) -> None:
    workshop.write(
        pipelines="""
        import sys

        def make(n):
            scope = {"__name__": __name__}
            exec(f"def made(x):\\n    return x + {n}\\n", scope)
            return scope["made"]

        one, two, again = make(1), make(2), make(1)

        def fit(x):
            return one(x)

        def score(x):
            return two(x)

        def check(x):
            return again(x)
        """
    )
    module = workshop.load("pipelines")
    one, two, again = (workshop.code(module.make(n)) for n in (1, 2, 1))
    assert one.digest == again.digest != two.digest
    assert any("has no source: its compiled code counts" in note for note in one.notes)
    assert workshop.code(module.fit).digest != workshop.code(module.score).digest


def test_fingerprints_load_nothing_heavy() -> None:
    heavy = ["numpy", "pandas", "pyarrow", "importlib.metadata", "hashlib"]
    script = f"import sys, headrace.fingerprint.fingerprint; print([name for name in {heavy} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    out = subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"


def test_2300_lines_in_40_modules_take_no_time(workshop: Workshop) -> None:
    for index in range(40):
        before = f"from mod{index - 1} import f{index - 1}_0 as before" if index else "before = abs"
        lines = [before, f"LIMIT = {index}", "NAMES = ['a', 'b']"]
        for number in range(5):
            lines += [f"def f{index}_{number}(rows, depth={number}):", '    """Sum rows."""', "    total = 0"]
            lines += ["    for row in rows:", "        if row > LIMIT and row not in NAMES:"]
            lines += [f"            total += before(row) * {number} + depth", "        else:"]
            lines += [
                "            total = max(total, len(rows))",
                f"    return [total, f{index}_{(number + 1) % 5}(rows)]",
                "",
            ]
        workshop.write(**{f"mod{index}": "\n".join(lines)})
    workshop.write(pipelines="from mod39 import f39_0\n\ndef fit(x):\n    return f39_0(x)\n")
    fit = workshop.load("pipelines").fit
    seconds = []
    for _ in range(3):
        start = time.process_time()
        code = workshop.code(fit)
        seconds.append(time.process_time() - start)
    assert len(code.parts) > 200
    assert min(seconds) < 0.5, "0.06 s is usual; something is done many times over"


def test_a_name_of_headrace_counts_alike_before_and_after_it_was_first_used(workshop: Workshop) -> None:
    workshop.write(stages="import headrace as hr\n\ndef tries():\n    return hr.attempt().number\n")
    tries = workshop.load("stages").tries
    vars(hr).pop("attempt", None)
    before = workshop.code(tries).digest
    assert tries() == 1
    assert workshop.code(tries).digest == before
