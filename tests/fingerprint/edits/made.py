"""Rows that are made: each layout of modules with each way to reach something in it, and each kind of that."""

# ruff: noqa: E501  the source in a row reads best as it is

from __future__ import annotations

from tests.fingerprint.edits.row import Row, row

KINDS = {
    "a number": ("THING = 2\n", "= 2", "= 3"),
    "a function": ("def THING(x=0):\n    return x + 2\n", "+ 2", "+ 3"),
    "a class": ("class THING:\n    depth = 2\n", "= 2", "= 3"),
    "a list that is filled": ("THING = []\nTHING.append(2)\n", "(2)", "(3)"),
    "a dictionary that a decorator fills": (
        "THING = {}\n\ndef add(f):\n    THING[f.__name__] = f\n    return f\n\n@add\ndef one(x):\n    return x + 2\n",
        "+ 2",
        "+ 3",
    ),
    "a name that a function binds anew": (
        "THING = 0\n\ndef init():\n    global THING\n    THING = 2\n\ninit()\n",
        "= 2",
        "= 3",
    ),
    "a type of a record": (
        "from typing import NamedTuple\n\nclass THING(NamedTuple):\n    depth: int = 2\n",
        "= 2",
        "= 3",
    ),
    "a dataclass's instance": (
        "from dataclasses import dataclass\n\n@dataclass\nclass Row:\n    depth: int\n\nTHING = Row(2)\n",
        "(2)",
        "(3)",
    ),
    "a closure": ("def make(n):\n    return lambda: n\n\nTHING = make(2)\n", "(2)", "(3)"),
    "a partial": ("from functools import partial\n\nTHING = partial(max, 2)\n", ", 2", ", 3"),
}
"""What `THING` is, and an edit of it."""

LAYOUTS: dict[str, tuple[str, dict[str, str]]] = {
    "a module": ("late", {}),
    "a package": ("late", {}),
    "a module of a package": ("late.inner", {"late/__init__.py": ""}),
    "a module that its package imports": ("late.inner", {"late/__init__.py": "from . import inner\n"}),
    "a module that its package imports by name": (
        "late.inner",
        {"late/__init__.py": "from late import inner as inner\n"},
    ),
    "a module two packages down": (
        "late.deep.inner",
        {"late/__init__.py": "from . import deep\n", "late/deep/__init__.py": "from . import inner\n"},
    ),
}
"""Where it is defined: the module, and the files around."""

WAYS = {
    "from": "def fit(x):\n    from {module} import THING\n    return THING\n",
    "import": "def fit(x):\n    import {module}\n    return {module}.THING\n",
    "import as": "def fit(x):\n    import {module} as m\n    return m.THING\n",
    "by name": "from importlib import import_module\n\ndef fit(x):\n    return import_module('{module}').THING\n",
    "through a function": "def near():\n    from {module} import THING\n    return THING\n\ndef fit(x):\n    return near()\n",
    "at the top": "import {module}\n\ndef fit(x):\n    return {module}.THING\n",
}
"""How a stage reaches it."""


def _row(kind: str, layout: str, way: str) -> Row:
    text, old, new = KINDS[kind]
    module, around = LAYOUTS[layout]
    path = "late/__init__.py" if layout == "a package" else module.replace(".", "/") + ".py"
    before = WAYS[way].format(module=module)
    return row(
        f"{kind} in {layout}, {way}", before, (path, old, new), files={**around, path: text}, changes="fit", note="*"
    )


def _idle(layout: str, way: str) -> Row:
    """An edit of what no stage reaches, beside it."""
    module, around = LAYOUTS[layout]
    path = "late/__init__.py" if layout == "a package" else module.replace(".", "/") + ".py"
    text = "THING = 2\n\ndef idle(x):\n    return x + 5\n"
    before = WAYS[way].format(module=module)
    return row(
        f"nothing that is reached in {layout}, {way}",
        before,
        (path, "+ 5", "+ 6"),
        files={**around, path: text},
        keeps="fit",
        note="*",
    )


ROWS = [_row(kind, layout, way) for kind in KINDS for layout in LAYOUTS for way in WAYS]
IDLE = [_idle(layout, way) for layout in LAYOUTS for way in WAYS if way not in ("import as", "by name")]
