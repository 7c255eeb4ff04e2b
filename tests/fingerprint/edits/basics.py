"""Helpers, constants, defaults, comments and formatting."""

# ruff: noqa: E501  the source in a row reads best as it is

from __future__ import annotations

from tests.fingerprint.edits.row import row

CHAIN = """
    def first(x):
        return second(x) + 1

    def second(x):
        return third(x) * 2

    def third(x):
        return x - 3

    def unrelated(x):
        return x

    def fit(x):
        return first(x)

    def score(x):
        return unrelated(x)
"""

CONSTANTS = """
    DEPTH = 6
    RATE = 0.1
    NAMES = ["carrier", "month"]
    LIMITS = {"low": 1, "high": 10}
    BOTH = DEPTH * 2

    def fit(x):
        return x * DEPTH

    def score(x):
        return [x[name] for name in NAMES]

    def check(x):
        return LIMITS["low"] <= x <= LIMITS["high"]

    def double(x):
        return x + BOTH
"""

TEXT = """
    def fit(table, depth=6):
        \"\"\"Fit a model.\"\"\"
        # what a comment says
        total = 0
        for row in table:
            total += row * 1000 + len("it's")
        return {'depth': depth, "total": total}
"""

DEFAULTS = """
    STEP = 2

    def helper(x, factor=3, *, offset=1):
        return x * factor + offset

    def fit(x, step=STEP):
        return helper(x) + step

    def score(x):
        return x
"""

ROWS = [
    # Helpers
    row("editing a helper reruns the stage that calls it", CHAIN, ("x - 3", "x - 4"), changes="fit", keeps="score"),
    row("editing a helper in the middle of a chain", CHAIN, ("* 2", "* 3"), changes="fit", keeps="score"),
    row("editing the stage itself", CHAIN, ("return first(x)", "return first(x) + 1"), changes="fit", keeps="score"),
    row(
        "editing a function that no stage calls",
        CHAIN + "\n    def idle():\n        return 1\n",
        ("return 1\n", "return 2\n"),
        keeps="fit score",
    ),
    row(
        "adding a function", CHAIN, ("def unrelated", "def added():\n    return 1\n\ndef unrelated"), keeps="fit score"
    ),
    row(
        "renaming a helper changes its callers",
        CHAIN,
        ("second(x) + 1", "zweite(x) + 1"),
        ("def second", "def zweite"),
        changes="fit",
        keeps="score",
    ),
    row("a stage calls another helper", CHAIN, ("return first(x)", "return second(x)"), changes="fit", keeps="score"),
    row(
        "helpers that call each other in a circle",
        """
        def even(n):
            return n == 0 or odd(n - 1)

        def odd(n):
            return n != 0 and even(n - 1)

        def fit(n):
            return even(n)

        def score(n):
            return n
    """,
        ("n != 0 and", "n > 0 and"),
        changes="fit",
        keeps="score",
    ),
    row(
        "a helper that calls itself",
        """
        def factorial(n):
            return 1 if n < 2 else n * factorial(n - 1)

        def fit(n):
            return factorial(n)
    """,
        ("n < 2", "n < 1"),
        changes="fit",
    ),
    row(
        "a helper that is called in a comprehension",
        CHAIN.replace("return first(x)", "return [first(y) for y in x]"),
        ("x - 3", "x - 4"),
        changes="fit",
        keeps="score",
    ),
    row(
        "a helper that is called in a nested function",
        CHAIN.replace("return first(x)", "def inner():\n            return first(x)\n        return inner()"),
        ("x - 3", "x - 4"),
        changes="fit",
        keeps="score",
    ),
    row(
        "a helper that is called in a lambda",
        CHAIN.replace("return first(x)", "return (lambda: first(x))()"),
        ("x - 3", "x - 4"),
        changes="fit",
        keeps="score",
    ),
    row(
        "a helper that is called in an except clause",
        CHAIN.replace(
            "return first(x)", "try:\n            return x\n        except ValueError:\n            return first(x)"
        ),
        ("x - 3", "x - 4"),
        changes="fit",
        keeps="score",
    ),
    row(
        "a helper that is called in a match guard",
        CHAIN.replace("return first(x)", "match x:\n            case int() if first(x):\n                return 1"),
        ("x - 3", "x - 4"),
        changes="fit",
        keeps="score",
    ),
    row(
        "a helper that is called in an f-string",
        CHAIN.replace("return first(x)", "return f'{first(x):>10}'"),
        ("x - 3", "x - 4"),
        changes="fit",
        keeps="score",
    ),
    row(
        "a helper that is called in a walrus",
        CHAIN.replace("return first(x)", "return (y := first(x)) + y"),
        ("x - 3", "x - 4"),
        changes="fit",
        keeps="score",
    ),
    row(
        "a helper that is given on as a value",
        CHAIN.replace("return first(x)", "return list(map(first, x))"),
        ("x - 3", "x - 4"),
        changes="fit",
        keeps="score",
    ),
    row(
        "an async helper",
        """
        async def helper(x):
            return x + 1

        async def fit(x):
            return await helper(x)
    """,
        ("x + 1", "x + 2"),
        changes="fit",
    ),
    row(
        "a generator helper",
        """
        def rows(n):
            for i in range(n):
                yield i

        def fit(n):
            return sum(rows(n))
    """,
        ("yield i", "yield i * 2"),
        changes="fit",
    ),
    row(
        "a helper that a stage hides behind a parameter of the same name",
        """
        def helper(x):
            return x

        def fit(helper):
            return helper + 1
    """,
        ("return x", "return -x"),
        keeps="fit",
    ),
    row(
        "a name that a stage uses only as an attribute of something else",
        """
        def clean(x):
            return x

        def fit(table):
            return table.clean()
    """,
        ("return x", "return -x"),
        keeps="fit",
    ),
    row(
        "a stage that another stage calls as a function",
        """
        import headrace as hr

        @hr.stage(kind="prepare")
        def prepare(x: int) -> int:
            return x + 1

        @hr.stage(kind="train", retries=2)
        def fit(x: int) -> int:
            return prepare(x)

        @hr.stage
        def score(x: int) -> int:
            return x
    """,
        ("x + 1", "x + 2"),
        changes="fit prepare",
        keeps="score",
    ),
    row(
        "the declaration of a stage is not in its key",
        """
        import headrace as hr

        @hr.stage(kind="train", retries=2, timeout="6h", resources=hr.Resources(cpu=2))
        def fit(x: int) -> int:
            return x
    """,
        ('retries=2, timeout="6h", resources=hr.Resources(cpu=2)', "retries=5"),
        keeps="fit",
    ),
    row(
        "declaring a function to be a stage by another name for the decorator",
        """
        from headrace import stage

        @stage
        def fit(x: int) -> int:
            return x
    """,
        ("from headrace import stage", "from headrace import stage as declare"),
        ("@stage", "@declare(retries=1)"),
        keeps="fit",
    ),
    row(
        "the body of a pipeline is not in its stages' keys",
        """
        import headrace as hr

        @hr.stage
        def fit(x: int) -> int:
            return x

        @hr.pipeline
        def flights(x: int = 1) -> None:
            fit(x)
    """,
        ("    fit(x)\n", "    fit(x + 1)\n"),
        keeps="fit",
    ),
    row(
        "removing a helper that was called leaves a name without meaning",
        CHAIN,
        ("def third(x):\n    return x - 3\n", ""),
        changes="fit",
        keeps="score",
    ),
    # Constants
    row("editing a constant", CONSTANTS, ("DEPTH = 6", "DEPTH = 7"), changes="fit double", keeps="score check"),
    row(
        "editing a constant that no stage reads",
        CONSTANTS,
        ("RATE = 0.1", "RATE = 0.2"),
        keeps="fit score check double",
    ),
    row("editing an element of a list", CONSTANTS, ('"month"', '"day"'), changes="score", keeps="fit check double"),
    row(
        "editing a value in a dictionary",
        CONSTANTS,
        ('"high": 10', '"high": 11'),
        changes="check",
        keeps="fit score double",
    ),
    row(
        "the order of a dictionary counts",
        CONSTANTS,
        ('"low": 1, "high": 10', '"high": 10, "low": 1'),
        changes="check",
        keeps="fit score double",
    ),
    row(
        "a constant that is computed from another one",
        CONSTANTS,
        ("DEPTH * 2", "DEPTH * 3"),
        changes="double",
        keeps="fit score check",
    ),
    row(
        "a constant that is computed in another way with the same value",
        CONSTANTS,
        ("BOTH = DEPTH * 2", "BOTH = 12"),
        keeps="fit score check double",
    ),
    row("an integer becomes a float", CONSTANTS, ("DEPTH = 6", "DEPTH = 6.0"), changes="fit", keeps="score check"),
    row(
        "an integer becomes a boolean",
        CONSTANTS.replace("DEPTH = 6", "DEPTH = 1"),
        ("DEPTH = 1", "DEPTH = True"),
        changes="fit",
        keeps="score check",
    ),
    row(
        "a list becomes a tuple",
        CONSTANTS,
        ('["carrier", "month"]', '("carrier", "month")'),
        changes="score",
        keeps="fit check double",
    ),
    row("a text becomes bytes", CONSTANTS, ('"carrier"', 'b"carrier"'), changes="score", keeps="fit check double"),
    row("the spelling of a constant's number", CONSTANTS, ("DEPTH = 6", "DEPTH = 0x6"), keeps="fit score check double"),
    row("an annotation on a constant", CONSTANTS, ("DEPTH = 6", "DEPTH: int = 6"), keeps="fit score check double"),
    row(
        "the order of a set does not count",
        """
        NAMES = {"a", "b", "c"}

        def fit(x):
            return x in NAMES
    """,
        ('{"a", "b", "c"}', '{"c", "a", "b"}'),
        keeps="fit",
    ),
    row(
        "an element is added to a set",
        """
        NAMES = {"a", "b", "c"}

        def fit(x):
            return x in NAMES
    """,
        ('"c"}', '"c", "d"}'),
        changes="fit",
    ),
    row(
        "an element is added to a frozenset of tuples",
        """
        NAMES = frozenset({("a", 1), ("b", 2)})

        def fit(x):
            return x in NAMES
    """,
        ('("b", 2)', '("b", 3)'),
        changes="fit",
    ),
    row(
        "a constant that is assigned in several places",
        """
        import sys

        DEPTH = 1
        if sys.maxsize > 0:
            DEPTH = 2

        def fit(x):
            return x * DEPTH
    """,
        ("DEPTH = 2", "DEPTH = 3"),
        changes="fit",
    ),
    row(
        "a first assignment that a later one replaces",
        """
        DEPTH = 1
        DEPTH = 2

        def fit(x):
            return x * DEPTH
    """,
        ("DEPTH = 1", "DEPTH = 5"),
        keeps="fit",
    ),
    row(
        "a constant that is filled by statements of its module",
        """
        WORDS = {}
        for index, word in enumerate(["a", "b"]):
            WORDS[word] = index
        WORDS.update(z=26)

        def fit(x):
            return WORDS[x]
    """,
        ("z=26", "z=27"),
        changes="fit",
    ),
    row(
        "a constant that is deep in others",
        """
        DEEP = {"a": [{"b": ({"c"}, [1, 2, {"d": None}])}]}

        def fit(x):
            return DEEP
    """,
        ('"d": None', '"d": False'),
        changes="fit",
    ),
    row(
        "a constant that holds itself",
        """
        LOOP = [1, 2]
        LOOP.append(LOOP)

        def fit(x):
            return LOOP
    """,
        ("[1, 2]", "[1, 3]"),
        changes="fit",
    ),
    row(
        "a zero gets a sign",
        """
        ZERO = 0.0

        def fit(x):
            return x * ZERO
    """,
        ("ZERO = 0.0", "ZERO = -0.0"),
        changes="fit",
    ),
    row(
        "a constant that is read by a nested function only",
        """
        DEPTH = 1

        def fit(x):
            def inner():
                return DEPTH
            return inner
    """,
        ("DEPTH = 1", "DEPTH = 2"),
        changes="fit",
    ),
    row(
        "a constant that is read in a class inside of a function",
        """
        DEPTH = 1

        def fit(x):
            class Inner:
                depth = DEPTH
            return Inner
    """,
        ("DEPTH = 1", "DEPTH = 2"),
        changes="fit",
    ),
    row(
        "a regular expression",
        """
        import re

        PATTERN = re.compile("[a-z]+")

        def fit(x):
            return PATTERN.match(x)
    """,
        ("[a-z]+", "[a-y]+"),
        changes="fit",
    ),
    row(
        "the flags of a regular expression",
        """
        import re

        PATTERN = re.compile("[a-z]+")

        def fit(x):
            return PATTERN.match(x)
    """,
        ('"[a-z]+"', '"[a-z]+", re.I'),
        changes="fit",
    ),
    row(
        "dates, decimals, fractions, ranges and paths",
        """
        from datetime import date, datetime, timedelta, timezone
        from decimal import Decimal
        from fractions import Fraction
        from pathlib import Path
        from zoneinfo import ZoneInfo

        ALL = [date(2026, 1, 1), datetime(2026, 1, 1, tzinfo=timezone.utc), timedelta(days=1), Decimal("1.0"), Fraction(1, 3), range(10), Path("a/b"), ZoneInfo("UTC"), 1j]

        def fit(x):
            return ALL
    """,
        ('Decimal("1.0")', 'Decimal("1.00")'),
        changes="fit",
    ),
    row(
        "a time zone in a list of dates",
        """
        from datetime import datetime, timedelta, timezone

        ALL = [datetime(2026, 1, 1, tzinfo=timezone.utc)]

        def fit(x):
            return ALL
    """,
        ("timezone.utc", "timezone(timedelta(hours=1))"),
        changes="fit",
    ),
    row(
        "a path that is made from the file's own place is the same in another checkout",
        """
        from pathlib import Path

        DATA = Path(__file__).parent / "data"
        TEXT = f"sqlite:///{DATA}/warehouse.db"

        def fit(x):
            return DATA, TEXT, __file__
    """,
        ('"data"', '"files"'),
        changes="fit",
    ),
    row(
        "a constant of another module with the same name",
        """
        import config

        DEPTH = 1

        def fit(x):
            return config.DEPTH
    """,
        ("DEPTH = 1", "DEPTH = 2"),
        files={"config.py": "DEPTH = 5\n"},
        keeps="fit",
    ),
    row(
        "an enumeration's member as a constant",
        """
        from enum import Enum

        class Color(Enum):
            RED = 1
            BLUE = 2

        DEFAULT = Color.RED

        def fit(x):
            return DEFAULT
    """,
        ("DEFAULT = Color.RED", "DEFAULT = Color.BLUE"),
        changes="fit",
    ),
    row(
        "a dataclass instance as a constant",
        """
        from dataclasses import dataclass

        @dataclass
        class Options:
            depth: int = 1
            rate: float = 0.5

        OPTIONS = Options(depth=3)

        def fit(x):
            return OPTIONS.depth
    """,
        ("depth=3", "depth=4"),
        changes="fit",
    ),
    row(
        "the method of a constant's class",
        """
        class Scaler:
            def __init__(self, factor):
                self.factor = factor

            def apply(self, x):
                return x * self.factor

        SCALER = Scaler(2)

        def fit(x):
            return SCALER.apply(x)
    """,
        ("x * self.factor", "x / self.factor"),
        changes="fit",
    ),
    row(
        "an attribute of a constant in slots",
        """
        class Scaler:
            __slots__ = ("factor",)

            def __init__(self, factor):
                self.factor = factor

        SCALER = Scaler(2)

        def fit(x):
            return SCALER.factor * x
    """,
        ("Scaler(2)", "Scaler(3)"),
        changes="fit",
    ),
    row(
        "a logger is the same whatever its module is called",
        """
        import logging

        log = logging.getLogger(__name__)

        def fit(x):
            log.info("fit")
            return x
    """,
        ("getLogger(__name__)", 'getLogger("pipelines")'),
        keeps="fit",
    ),
    row(
        "an element of an array",
        """
        import numpy as np

        WEIGHTS = np.array([1.0, 2.0, 3.0])

        def fit(x):
            return x * WEIGHTS

        def score(x):
            return np.sum(x)
        """,
        ("2.0,", "2.5,"),
        changes="fit",
        keeps="score",
        needs="numpy",
    ),
    row(
        "the type of an array",
        """
        import numpy as np

        WEIGHTS = np.array([1, 2, 3], dtype="int64")

        def fit(x):
            return x * WEIGHTS
        """,
        ("int64", "int32"),
        changes="fit",
        needs="numpy",
    ),
    row(
        "an array that is computed in another way with the same values",
        """
        import numpy as np

        WEIGHTS = np.array([0, 1, 2])

        def fit(x):
            return x * WEIGHTS
        """,
        ("np.array([0, 1, 2])", "np.arange(3)"),
        keeps="fit",
        needs="numpy",
    ),
    row(
        "a cell of a table",
        """
        import pandas as pd

        TABLE = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})

        def fit(x):
            return TABLE.merge(x)
        """,
        ('"y"', '"z"'),
        changes="fit",
        needs="pandas",
    ),
    row(
        "an alias of a NumPy function",
        """
        from numpy import sin as f

        def fit(x):
            return f(x)
        """,
        ("sin as f", "cos as f"),
        changes="fit",
        needs="numpy",
    ),
    row(
        "a NumPy function as a constant",
        """
        import numpy as np

        KINDS = {"a": np.sin, "b": np.sum}

        def fit(x):
            return KINDS["a"](x)
        """,
        ("np.sin", "np.cos"),
        changes="fit",
        needs="numpy",
    ),
    row(
        "another NumPy function as a constant",
        """
        import numpy as np

        KINDS = {"a": np.sin, "b": np.sum}

        def fit(x):
            return KINDS["b"](x)
        """,
        ("np.sum", "np.mean"),
        changes="fit",
        needs="numpy",
    ),
    row(
        "a function that is chosen by a condition",
        """
        FAST = True

        def one(x):
            return x + 1

        def two(x):
            return x + 2

        helper = one if FAST else two

        def fit(x):
            return helper(x)
        """,
        ("FAST = True", "FAST = False"),
        changes="fit",
    ),
    row(
        "an object's attribute that another module sets",
        """
        import config
        import setup_config

        def fit(x):
            return config.OPTIONS.depth
        """,
        ("setup_config.py", "depth = 2", "depth = 3"),
        files={
            "config.py": "from types import SimpleNamespace\n\nOPTIONS = SimpleNamespace(depth=1)\n",
            "setup_config.py": "import config\n\nconfig.OPTIONS.depth = 2\n",
        },
        changes="fit",
    ),
    row(
        "a tuple of classes",
        """
        class One:
            x = 1

        KINDS = (One, int)

        def fit(x):
            return isinstance(x, KINDS)
        """,
        ("x = 1", "x = 2"),
        changes="fit",
    ),
    row(
        "a list of lambdas that a loop makes",
        """
        STEPS = [lambda x, i=i: x + i for i in range(3)]

        def fit(x):
            return STEPS[0](x)
        """,
        ("range(3)", "range(4)"),
        changes="fit",
    ),
    row(
        "a list of closures that a function makes",
        """
        def adder(i):
            return lambda x: x + i

        STEPS = [adder(i) for i in (1, 2)]

        def fit(x):
            return STEPS[0](x)
        """,
        ("(1, 2)", "(1, 3)"),
        changes="fit",
    ),
    row(
        "a default of a lambda",
        """
        K = 2
        scale = lambda x, k=K: x * k

        def fit(x):
            return scale(x)
        """,
        ("K = 2", "K = 3"),
        changes="fit",
    ),
    row(
        "a constant that nothing can read counts as written",
        """
        import threading

        LOCAL = threading.local()
        LOCAL.depth = 3

        def fit(x):
            return LOCAL.depth
    """,
        ("depth = 3", "depth = 4"),
        changes="fit",
        note="`pipelines.LOCAL` has no readable value",
    ),
    row(
        "what a constant that counts as written is made from",
        """
        import threading

        DEPTH = 3

        def make(depth):
            local = threading.local()
            local.depth = depth
            return local

        LOCAL = make(DEPTH)

        def fit(x):
            return LOCAL.depth
    """,
        ("DEPTH = 3", "DEPTH = 4"),
        changes="fit",
        note="source text counts",
    ),
    row(
        "who makes a constant that counts as written",
        """
        import threading

        def make(depth):
            local = threading.local()
            local.depth = depth
            return local

        LOCAL = make(3)

        def fit(x):
            return LOCAL.depth
    """,
        ("local.depth = depth", "local.depth = depth + 1"),
        changes="fit",
        note="source text counts",
    ),
    # Defaults
    row("a default argument of the stage", DEFAULTS, ("STEP = 2", "STEP = 3"), changes="fit", keeps="score"),
    row("a default argument of a helper", DEFAULTS, ("factor=3", "factor=4"), changes="fit", keeps="score"),
    row(
        "a keyword-only default argument of a helper", DEFAULTS, ("offset=1", "offset=2"), changes="fit", keeps="score"
    ),
    row("a default that is spelled in another way", DEFAULTS, ("factor=3", "factor=0b11"), keeps="fit score"),
    row(
        "a default that holds a function",
        """
        def helper(x):
            return x

        def fit(x, by=helper):
            return by(x)
    """,
        ("return x\n\n", "return -x\n\n"),
        changes="fit",
    ),
    row(
        "a default that holds a list of functions",
        """
        def helper(x):
            return x

        def fit(x, by=(helper, len)):
            return by[0](x)
    """,
        ("return x\n\n", "return -x\n\n"),
        changes="fit",
    ),
    row(
        "a default that is replaced after the definition",
        """
        def fit(x, step=1):
            return x + step

        fit.__defaults__ = (2,)
    """,
        ("(2,)", "(3,)"),
        changes="fit",
    ),
    row(
        "an attribute of a function",
        """
        def helper(x):
            return x * helper.factor

        helper.factor = 2

        def fit(x):
            return helper(x)
    """,
        ("factor = 2", "factor = 3"),
        changes="fit",
    ),
    row(
        "a default that nothing can read, by what it is made from",
        """
        import threading

        def make():
            return threading.local()

        def fit(x, local=make()):
            return local
    """,
        ("return threading.local()", "return threading.local() or None"),
        changes="fit",
        note="`pipelines.fit.local` has no readable value",
    ),
    # Text
    row("editing a comment", TEXT, ("# what a comment says", "# something else"), keeps="fit"),
    row("editing a docstring", TEXT, ("Fit a model.", "Train a model."), keeps="fit"),
    row("removing a docstring", TEXT, ('    """Fit a model."""\n', ""), keeps="fit"),
    row("blank lines", TEXT, ("    total = 0\n", "    total = 0\n\n\n"), keeps="fit"),
    row("indentation", TEXT, ("        total += row", "              total += row"), keeps="fit"),
    row("the style of quotes", TEXT, ("{'depth': depth,", '{"depth": depth,'), keeps="fit"),
    row("quotes around quotes", TEXT, ('"it\'s"', "'it\\'s'"), keeps="fit"),
    row("the spelling of a number", TEXT, ("1000", "1_000"), keeps="fit"),
    row("the spelling of a number in hexadecimal", TEXT, ("1000", "0x3e8"), keeps="fit"),
    row("parentheses that change nothing", TEXT, ("row * 1000 + len(", "(row * 1000) + len("), keeps="fit"),
    row(
        "parentheses that change the result",
        TEXT,
        ('row * 1000 + len("it\'s")', 'row * (1000 + len("it\'s"))'),
        changes="fit",
    ),
    row(
        "a line that is continued with a backslash", TEXT, ("total += row", "total += \\\n            row"), keeps="fit"
    ),
    row(
        "a line that is continued in parentheses",
        TEXT,
        (
            "return {'depth': depth, \"total\": total}",
            "return {\n        'depth': depth,\n        \"total\": total,\n    }",
        ),
        keeps="fit",
    ),
    row(
        "a text that is continued on the next line",
        'def fit():\n    return "ab"\n',
        ('"ab"', '("a"\n        "b")'),
        keeps="fit",
    ),
    row("two statements on one line", "def fit(x):\n    y = x; return y\n", ("y = x; ", "y = x\n    "), keeps="fit"),
    row("a statement that does nothing", "def fit(x):\n    pass\n    return x\n", ("    pass\n", ""), keeps="fit"),
    row(
        "a text that stands by itself",
        "def fit(x):\n    return x\n",
        ("    return", "    'a note'\n    return"),
        keeps="fit",
    ),
    row("the spelling of an escape", "def fit():\n    return 'a\\x41'\n", ("\\x41", "A"), keeps="fit"),
    row("the prefix u of a text", "def fit():\n    return 'a'\n", ("'a'", "u'a'"), keeps="fit"),
    row("a raw text of the same value", "def fit():\n    return 'a\\\\d'\n", ("'a\\\\d'", "r'a\\d'"), keeps="fit"),
    row("parentheses after del", "def fit(x, y):\n    del x, y\n", ("x, y\n", "(x, y)\n"), keeps="fit"),
    row(
        "Windows line endings",
        "def fit(x):\n    y = x\n    return y\n",
        after={"pipelines.py": "def fit(x):\r\n    y = x\r\n    return y\r\n"},
        keeps="fit",
    ),
    row("a letter that is not ASCII", "def fit(x):\n    return 'größe'\n", ("größe", "grösse"), changes="fit"),
    row(
        "a declared encoding",
        "def fit(x):\n    return 'a'\n",
        after={"pipelines.py": "# -*- coding: utf-8 -*-\ndef fit(x):\n    return 'a'\n"},
        keeps="fit",
    ),
    row(
        "a whole file that a formatter went over",
        """
        x = { 'a':37,'b':42,

        'c':927}
        def helper ( a,b = 1 ) :
            if (a is None) : return (b)
            return   a+b
        def fit(table,  *, depth = 0XFF) :
            '''Doc.'''
            if table == 0 and \\
               depth > 1 :
                    print ( 'hello '  'world' ) ; return helper(1)
            with open('a') as f, \\
                 open('b') as g: del(f), (g)
            return [ y for y in range(10) if y  not in x ]
    """,
        after={
            "pipelines.py": '''
        x = {"a": 37, "b": 42, "c": 927}


        def helper(a, b=1):
            if a is None:
                return b
            return a + b


        def fit(table, *, depth=0xFF):
            """Doc."""
            if table == 0 and depth > 1:
                print("hello " "world")
                return helper(1)
            with open("a") as f, open("b") as g:
                del f, g
            return [y for y in range(10) if y not in x]
    '''
        },
        keeps="fit",
    ),
    row(
        "a docstring that the stage reads",
        """
        def fit(x):
            \"\"\"One.\"\"\"
            return fit.__doc__
    """,
        ("One.", "Two."),
        changes="fit",
    ),
    row(
        "a docstring that the stage reads of a helper",
        """
        def helper():
            \"\"\"One.\"\"\"

        def fit(x):
            return getattr(helper, "__doc__")
    """,
        ("One.", "Two."),
        changes="fit",
    ),
    row(
        "the module's docstring, where it is read",
        """
        \"\"\"One.\"\"\"

        def fit(x):
            return __doc__

        def score(x):
            return x
    """,
        ("One.", "Two."),
        changes="fit",
        keeps="score",
    ),
    row(
        "a docstring where inspect reads it",
        """
        import inspect

        def helper():
            \"\"\"One.\"\"\"

        def fit(x):
            return inspect.getdoc(helper)
    """,
        ("One.", "Two."),
        changes="fit",
    ),
    # Annotations
    row(
        "an annotation of a helper",
        "def helper(x: int) -> int:\n    return x\n\ndef fit(x):\n    return helper(x)\n",
        ("x: int) -> int", "x: float) -> float"),
        keeps="fit",
    ),
    row("an annotation of the stage", "def fit(x: int) -> int:\n    return x\n", ("x: int", "x: float"), changes="fit"),
    row(
        "the annotated result of the stage",
        "def fit(x: int) -> int:\n    return x\n",
        ("-> int", "-> float"),
        changes="fit",
    ),
    row(
        "an annotation of a variable in a function",
        "def fit(x):\n    y = x\n    return y\n",
        ("y = x", "y: int = x"),
        keeps="fit",
    ),
    row(
        "an annotation of a nested function",
        "def fit(x):\n    def inner(y):\n        return y\n    return inner(x)\n",
        ("def inner(y)", "def inner(y: int)"),
        keeps="fit",
    ),
    row(
        "a type that only a helper's annotation names",
        """
        from dataclasses import dataclass

        @dataclass
        class Row:
            x: int = 1

        def helper(row: Row) -> Row:
            return row

        def fit(x):
            return helper(x)
    """,
        ("x: int = 1", "x: int = 2"),
        keeps="fit",
    ),
    row(
        "a type that the stage's annotation names",
        """
        from dataclasses import dataclass

        @dataclass
        class Row:
            x: int = 1

        def fit(row: Row) -> int:
            return row.x
    """,
        ("x: int = 1", "x: int = 2"),
        changes="fit class:Row",
    ),
    row(
        "a type that the stage's annotation names as a text",
        """
        from __future__ import annotations

        from dataclasses import dataclass

        @dataclass
        class Row:
            x: int = 1

        def fit(row: "list[Row]") -> int:
            return row[0].x
    """,
        ("x: int = 1", "x: int = 2"),
        changes="fit class:Row",
    ),
    row(
        "an import for type checkers only",
        """
        from __future__ import annotations

        from typing import TYPE_CHECKING

        if TYPE_CHECKING:
            from somewhere import Nothing

        def helper(x: Nothing) -> Nothing:
            return x

        def fit(x):
            return helper(x)
    """,
        ("from somewhere import Nothing", "from elsewhere import Nothing"),
        keeps="fit",
    ),
    row(
        "an import for type checkers only, inside of a function",
        """
        import typing

        def fit(x):
            if typing.TYPE_CHECKING:
                from somewhere import Nothing
            return x
    """,
        ("from somewhere", "from elsewhere"),
        keeps="fit",
    ),
    row(
        "a TYPE_CHECKING of the project's own that is true",
        """
        TYPE_CHECKING = True

        def fit(x):
            if TYPE_CHECKING:
                return 1
            return 2
    """,
        ("return 1", "return 3"),
        changes="fit",
    ),
    row(
        "an annotation that a helper reads of another",
        """
        import typing

        def helper(x: int) -> int:
            return x

        def fit(x):
            return typing.get_type_hints(helper)
    """,
        ("x: int", "x: str"),
        changes="fit",
    ),
    row(
        "an annotation under a decorator of the project's",
        """
        def checked(function):
            kind = function.__annotations__["x"]
            def wrapper(x):
                return function(kind(x))
            return wrapper

        @checked
        def helper(x: int):
            return x

        def fit(x):
            return helper(x)
    """,
        ("x: int", "x: float"),
        changes="fit",
    ),
    row(
        "renaming a local variable may rerun, and does",
        "def fit(x):\n    y = x\n    return y\n",
        ("y = x\n    return y", "z = x\n    return z"),
        changes="fit",
    ),
    # Names of stages
    row(
        "the function of a stage that has a name of its own",
        "import headrace as hr\n\n@hr.stage(name='fit')\ndef fit(x):\n    return x\n",
        ("def fit(x)", "def fit_all(x)"),
        ("return x\n", "return x\n\nfit = fit_all\n"),
        keeps="fit",
    ),
    row(
        "the name of a stage",
        "import headrace as hr\n\n@hr.stage(name='fit')\ndef fit(x):\n    return x\n",
        ("'fit'", "'other'"),
        keeps="fit",
    ),
    row(
        "the body of a stage that has a name of its own",
        "import headrace as hr\n\n@hr.stage(name='fit')\ndef fit(x):\n    return x\n",
        ("return x", "return -x"),
        changes="fit",
    ),
    row(
        "the function of a stage that wraps it and has a name of its own",
        "import functools\nimport headrace as hr\n\ndef twice(f):\n    @functools.wraps(f)\n    def g(x):\n        return 2 * f(x)\n    return g\n\n@hr.stage(name='fit')\n@twice\ndef fit(x):\n    return x\n",
        ("def fit(x)", "def fit_all(x)"),
        ("return x\n", "return x\n\nfit = fit_all\n"),
        keeps="fit",
    ),
    row(
        "the function of a stage that another stage calls",
        "import headrace as hr\n\n@hr.stage(name='fit')\ndef fit(x):\n    return x\n\n@hr.stage\ndef score(x):\n    return fit(x)\n",
        ("return x\n\n@", "return -x\n\n@"),
        changes="fit score",
    ),
]
