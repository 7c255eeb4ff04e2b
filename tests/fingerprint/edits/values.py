"""Constants by their value, and classes by what they hold: what names and texts alone don't tell."""

# ruff: noqa: E501  the source in a row reads best as it is

from __future__ import annotations

from tests.fingerprint.edits.row import row

WRITTEN = "has no readable value"
MADE = "its attributes count"


def pandas(name: str, constant: str, *edit: str) -> object:
    text = f"import pandas as pd\n\nCONSTANT = {constant}\n\ndef fit(x):\n    return CONSTANT\n"
    return row(name, text, tuple(edit), changes="fit", needs="pandas")  # type: ignore[arg-type]


def contained(name: str, constant: str, *edit: str, needs: str | None = None) -> object:
    head = "from collections import namedtuple\nfrom dataclasses import field, make_dataclass\n"
    text = f"{head}import {needs or 'math'}\n\nCONSTANT = {constant}\n\ndef fit(x):\n    return CONSTANT\n"
    return row(name, text, tuple(edit), changes="fit", needs=needs, note=MADE)  # type: ignore[arg-type]


ROWS = [
    pandas("the order of categories", "pd.CategoricalDtype(['a', 'b'])", "['a', 'b']", "['b', 'a']"),
    pandas("whether categories are ordered", "pd.CategoricalDtype(['a', 'b'], ordered=True)", "True", "False"),
    pandas("an unused category of a column", "pd.DataFrame({'a': pd.Categorical(['x'], ['x', 'y'])})", "'y']", "'z']"),
    pandas(
        "the categories of a series",
        "pd.Series(['x'], dtype=pd.CategoricalDtype(['x', 'y']))",
        "['x', 'y']",
        "['y', 'x']",
    ),
    pandas("an array of categories", "pd.Categorical(['x'], ['x', 'y'])", "['x', 'y']", "['y', 'x']"),
    pandas(
        "an index of categories",
        "pd.DataFrame({'a': [1]}, index=pd.CategoricalIndex(['x'], ['x', 'y']))",
        "['x', 'y']",
        "['y', 'x']",
    ),
    pandas(
        "categories of columns",
        "pd.DataFrame([[1]], columns=pd.CategoricalIndex(['x'], ['x', 'y']))",
        "['x', 'y']",
        "['y', 'x']",
    ),
    pandas(
        "categories in a level of an index",
        "pd.DataFrame({'a': [1]}, index=pd.MultiIndex.from_arrays([pd.Categorical(['x'], ['x', 'y']), [1]]))",
        "['x', 'y']",
        "['y', 'x']",
    ),
    pandas("the name of a frame's index", "pd.DataFrame({'a': [1]}).rename_axis('k')", "'k'", "'m'"),
    pandas("the name of a series' index", "pd.Series([1]).rename_axis('k')", "'k'", "'m'"),
    pandas(
        "the names of a frame's levels",
        "pd.DataFrame({'a': [1], 'b': [2], 'c': [3]}).set_index(['a', 'b']).rename_axis(['k', 'l'])",
        "'l'",
        "'m'",
    ),
    pandas("the names of columns", "pd.DataFrame({'a': [1]}).rename_axis('k', axis=1)", "'k'", "'m'"),
    pandas("the frequency of an index", "pd.DatetimeIndex(['2026-01-01', '2026-01-02'], freq='D')", ", freq='D'", ""),
    pandas("a categorical type in a dictionary", "{'a': pd.CategoricalDtype(['a', 'b'])}", "['a', 'b']", "['b', 'a']"),
    row(
        "the shape of a NumPy type",
        "import numpy as np\n\nKIND = np.dtype((np.int32, (2, 3)))\n\ndef fit(x):\n    return KIND\n",
        ("(2, 3)", "(3, 2)"),
        changes="fit",
        needs="numpy",
    ),
    row(
        "the element of a NumPy type that has a shape",
        "import numpy as np\n\nKIND = np.dtype((np.int32, (2, 3)))\n\ndef fit(x):\n    return KIND\n",
        ("int32", "float32"),
        changes="fit",
        needs="numpy",
    ),
    row(
        "an unused entry of an Arrow dictionary",
        "import pyarrow as pa\n\nCOLUMN = pa.DictionaryArray.from_arrays([0], ['x', 'y'])\n\ndef fit(x):\n    return COLUMN\n",
        ("'y'", "'z'"),
        changes="fit",
        needs="pyarrow",
    ),
    row(
        "which of two hours a time is",
        "from datetime import datetime\n\nAT = datetime(2026, 10, 25, 2, 30, fold=0)\n\ndef fit(x):\n    return AT\n",
        ("fold=0", "fold=1"),
        changes="fit",
    ),
    row(
        "which of two hours a time of day is, in a list",
        "from datetime import time\n\nAT = [time(2, 30, fold=0)]\n\ndef fit(x):\n    return AT\n",
        ("fold=0", "fold=1"),
        changes="fit",
    ),
    row(
        "an instance of a subclass of a date",
        "from datetime import date\n\nclass Day(date):\n    pass\n\nAT = Day(2026, 1, 2)\n\ndef fit(x):\n    return AT\n",
        ("1, 2", "2, 1"),
        changes="fit",
    ),
    row(
        "an instance of a subclass of a decimal number",
        "from decimal import Decimal\n\nclass Money(Decimal):\n    pass\n\nPRICE = Money('1.5')\n\ndef fit(x):\n    return PRICE\n",
        ("'1.5'", "'2.5'"),
        changes="fit",
    ),
    row(
        "an instance of a subclass of a deque",
        "from collections import deque\n\nclass Last(deque):\n    pass\n\nKEPT = Last([1], maxlen=2)\n\ndef fit(x):\n    return KEPT\n",
        ("maxlen=2", "maxlen=3"),
        changes="fit",
    ),
    # Classes in containers
    contained("a default of a named tuple in a list", "[namedtuple('Row', 'x y', defaults=[3])]", "[3]", "[4]"),
    contained("a field of a named tuple in a dictionary", "{'a': namedtuple('Row', 'x y')}", "'x y'", "'x z'"),
    contained(
        "a default of a made dataclass in a dictionary", "{'a': make_dataclass('Row', [('x', int, 3)])}", ", 3)", ", 4)"
    ),
    contained("a field of a made dataclass in a tuple", "(make_dataclass('Row', [('x', int)]),)", "'x'", "'y'"),
    contained("the type of a made dataclass's field", "(make_dataclass('Row', [('x', int)]),)", "int", "float"),
    contained(
        "an option of a made dataclass's field",
        "(make_dataclass('Row', [('x', int, field(default=1, repr=True))]),)",
        "repr=True",
        "repr=False",
    ),
    contained(
        "an option of a made dataclass",
        "(make_dataclass('Row', [('x', int)], frozen=True),)",
        "frozen=True",
        "frozen=False",
    ),
    contained(
        "a default of a made struct in a list",
        "[msgspec.defstruct('Row', [('x', int, 3)])]",
        ", 3)",
        ", 4)",
        needs="msgspec",
    ),
    # Defaults that are computed
    *(
        row(
            f"a default that is computed: {name}",
            f"import sys\n{head}\n\nsys.some_depth = 2\n\nclass Row{base}:\n    x: int = max(sys.some_depth, 0)\n\ndef fit(x):\n    return Row()\n",
            ("= 2", "= 3"),
            changes="fit",
            needs=needs,
        )
        for name, head, base, needs in (
            ("a named tuple", "from typing import NamedTuple", "(NamedTuple)", None),
            ("a struct", "import msgspec", "(msgspec.Struct)", "msgspec"),
            ("a model", "import pydantic", "(pydantic.BaseModel)", "pydantic"),
        )
    ),
    # Names in texts
    *(
        row(f"a name in a text: {name}", text, (old, new), changes="fit", needs=needs, note=note)
        for name, text, old, new, needs, note in (
            (
                "a type in a stage",
                "import pydantic\n\nclass Row(pydantic.BaseModel):\n    x: int = 1\n\ndef fit(x):\n    return pydantic.TypeAdapter('list[Row]').validate_python(x)\n",
                "= 1",
                "= 2",
                "pydantic",
                None,
            ),
            (
                "a type in a constant",
                "import pydantic\n\nclass Row(pydantic.BaseModel):\n    x: int = 1\n\nROWS = pydantic.TypeAdapter('list[Row]')\n\ndef fit(x):\n    return ROWS.validate_python(x)\n",
                "= 1",
                "= 2",
                "pydantic",
                WRITTEN,
            ),
            (
                "an alternative",
                "import pydantic\n\nclass Row(pydantic.BaseModel):\n    x: int = 1\n\ndef fit(x):\n    return pydantic.TypeAdapter('Row | None').validate_python(x)\n",
                "= 1",
                "= 2",
                "pydantic",
                None,
            ),
            (
                "a variable of a query",
                "LIMIT = 2\n\ndef fit(x):\n    return x.query('a > @LIMIT')\n",
                "= 2",
                "= 3",
                None,
                None,
            ),
            (
                "a table of a query",
                "import pandas as pd\n\nPRICES = pd.DataFrame({'a': [2]})\n\ndef fit(x, run):\n    return run('select * from PRICES')\n",
                "[2]",
                "[3]",
                "pandas",
                None,
            ),
            (
                "a variable of a query in a chain of calls",
                "LIMIT = 2\n\ndef fit(x):\n    return x.drop_duplicates().query('a > @LIMIT').head()\n",
                "= 2",
                "= 3",
                None,
                None,
            ),
        )
    ),
    row(
        "a name in a text that is a column or a message",
        "class Row:\n    x = 1\n\ndef clean(x):\n    return x + 1\n\ndef fit(x):\n    print('Row', 'taken from clean')\n    return x.rename(columns={'a': 'Row'})\n",
        ("x = 1", "x = 2"),
        ("x + 1", "x + 2"),
        keeps="fit",
    ),
]
