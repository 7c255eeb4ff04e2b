"""Modules, packages, aliases, imports inside of functions, computed names, distributions."""

# ruff: noqa: E501  the source in a row reads best as it is

from __future__ import annotations

from tests.fingerprint.edits.row import row

HELPERS = """
    DEPTH = 2

    def clean(x):
        return x + 1

    def other(x):
        return x * DEPTH
"""

USES = """
    import helpers

    def fit(x):
        return helpers.clean(x)

    def score(x):
        return helpers.other(x)
"""

PACKAGE = {
    "pkg/__init__.py": "from pkg.inner import clean\n\nVERSION = 1\n",
    "pkg/inner.py": "from .deep.core import base\n\n\ndef clean(x):\n    return base(x) + 1\n\n\ndef idle(x):\n    return x\n",
    "pkg/deep/__init__.py": "",
    "pkg/deep/core.py": "from .. import limits\n\n\ndef base(x):\n    return min(x, limits.HIGH)\n",
    "pkg/limits.py": "HIGH = 10\nLOW = 1\n",
}

USES_PACKAGE = """
    import pkg
    import pkg.inner

    def fit(x):
        return pkg.inner.clean(x)

    def score(x):
        return pkg.VERSION

    def check(x):
        return pkg.clean(x)
"""

LATE = """
    def fit(x):
        from helpers import clean
        return clean(x)

    def score(x):
        import helpers
        return helpers.other(x)
"""

WHOLE = """
    import helpers

    def fit(name, x):
        return getattr(helpers, name)(x)

    def score(x):
        return x
"""

LIBRARY = {
    "site-packages/lib/__init__.py": "def run(x):\n    return x\n\n\ndef walk(x):\n    return x\n",
    "site-packages/lib-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: lib\nVersion: 1.0\nRequires-Dist: under>=1\nRequires-Dist: idle; sys_platform == 'nowhere'\nRequires-Dist: extra-thing; extra == 'more'\n\nText\n",
    "site-packages/lib-1.0.dist-info/RECORD": "lib/__init__.py,sha256=aaa,10\nlib-1.0.dist-info/METADATA,,\n",
    "site-packages/under/__init__.py": "",
    "site-packages/under-3.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: under\nVersion: 3.0\n\n",
    "site-packages/under-3.0.dist-info/RECORD": "under/__init__.py,sha256=bbb,10\n",
    "site-packages/idle/__init__.py": "",
    "site-packages/idle-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: idle\nVersion: 1.0\n\n",
    "site-packages/idle-1.0.dist-info/RECORD": "idle/__init__.py,sha256=ccc,10\n",
}

USES_LIBRARY = """
    import lib

    def fit(x):
        return lib.run(x)

    def score(x):
        return x
"""


def renamed(old: str, new: str, files: dict[str, str]) -> dict[str, str | None]:
    """Return the files of another version of a distribution."""
    found: dict[str, str | None] = {}
    for path, text in files.items():
        if f"-{old}.dist-info" in path:
            found[path] = None
            found[path.replace(f"-{old}.", f"-{new}.")] = text.replace(f"Version: {old}", f"Version: {new}").replace(
                f"-{old}.", f"-{new}."
            )
    return found


def only(name: str) -> dict[str, str]:
    return {path: text for path, text in LIBRARY.items() if f"/{name}" in path}


def direct(url: str, editable: bool) -> dict[str, str]:
    inner = '{"editable": true}' if editable else "{}"
    return {"site-packages/lib-1.0.dist-info/direct_url.json": f'{{"url": "{url}", "dir_info": {inner}}}'}


EDITABLE = {
    **{path: text for path, text in LIBRARY.items() if path != "site-packages/lib/__init__.py"},
    "site-packages/lib-1.0.dist-info/RECORD": "lib-1.0.dist-info/METADATA,,\n",
    **direct("file://{FOLDER}/elsewhere", editable=True),
    "elsewhere/lib/__init__.py": "from lib.inner import run\n",
    "elsewhere/lib/inner.py": "def run(x):\n    return x + 1\n\n\ndef walk(x):\n    return x\n",
}

ROWS = [
    # Modules
    row(
        "a function of another module",
        USES,
        ("helpers.py", "x + 1", "x + 2"),
        files={"helpers.py": HELPERS},
        changes="fit",
        keeps="score",
    ),
    row(
        "a function of another module that no stage calls",
        USES,
        ("helpers.py", "DEPTH = 2", "DEPTH = 2\n\ndef idle():\n    return 1"),
        files={"helpers.py": HELPERS},
        keeps="fit score",
    ),
    row(
        "a constant that a function of another module reads",
        USES,
        ("helpers.py", "DEPTH = 2", "DEPTH = 3"),
        files={"helpers.py": HELPERS},
        changes="score",
        keeps="fit",
    ),
    row(
        "a constant of another module",
        USES.replace("helpers.clean(x)", "helpers.DEPTH"),
        ("helpers.py", "DEPTH = 2", "DEPTH = 3"),
        files={"helpers.py": HELPERS},
        changes="fit score",
    ),
    row(
        "a module under another name",
        USES,
        ("import helpers\n", "import helpers as h\n"),
        ("helpers.clean(x)", "h.clean(x)"),
        ("helpers.other(x)", "h.other(x)"),
        files={"helpers.py": HELPERS},
        changes="fit score",
    ),
    row(
        "two aliases are swapped",
        """
        from helpers import clean as a, other as b

        def fit(x):
            return a(b(x))

        def score(x):
            return x
    """,
        ("clean as a, other as b", "clean as b, other as a"),
        files={"helpers.py": HELPERS},
        changes="fit",
        keeps="score",
    ),
    row(
        "two aliases of modules are swapped",
        """
        import one as a
        import two as b

        def fit(x):
            return a.clean(b.clean(x))
    """,
        ("import one as a\nimport two as b", "import two as a\nimport one as b"),
        files={"one.py": "def clean(x):\n    return x + 1\n", "two.py": "def clean(x):\n    return x + 2\n"},
        changes="fit",
    ),
    row(
        "two aliases of constants are swapped",
        """
        from helpers import A as x, B as y

        def fit():
            return x - y
    """,
        ("A as x, B as y", "A as y, B as x"),
        files={"helpers.py": "A = 1\nB = 2\n"},
        changes="fit",
    ),
    row(
        "two aliases of functions that are alike",
        """
        from helpers import one as a, two as b

        def fit(x):
            return a(b(x))
    """,
        ("one as a, two as b", "one as b, two as a"),
        files={"helpers.py": "def one(x):\n    return x\n\ndef two(x):\n    return x\n"},
        changes="fit",
    ),
    row(
        "an alias of a function of the standard library",
        "from math import sin as f\n\ndef fit(x):\n    return f(x)\n",
        ("sin as f", "cos as f"),
        changes="fit",
    ),
    row(
        "an alias of a module of the standard library",
        "import math as m\n\ndef fit(x):\n    return m.sqrt(x)\n",
        ("import math as m", "import cmath as m"),
        changes="fit",
    ),
    row(
        "an alias of a built-in function",
        "f = sorted\n\ndef fit(x):\n    return f(x)\n",
        ("f = sorted", "f = list"),
        changes="fit",
    ),
    row(
        "a built-in function is replaced by one of the module's",
        "def fit(x):\n    return len(x)\n",
        ("def fit", "def len(x):\n    return 0\n\ndef fit"),
        changes="fit",
    ),
    row(
        "a function that is imported through another module",
        """
        from facade import clean

        def fit(x):
            return clean(x)
    """,
        ("helpers.py", "x + 1", "x + 2"),
        files={"facade.py": "from helpers import *\n", "helpers.py": HELPERS},
        changes="fit",
    ),
    row(
        "a constant that is imported through another module",
        """
        from facade import DEPTH

        def fit(x):
            return DEPTH
    """,
        ("helpers.py", "DEPTH = 2", "DEPTH = 3"),
        files={"facade.py": "from helpers import DEPTH\n", "helpers.py": HELPERS},
        changes="fit",
    ),
    row(
        "a star import that brings another function of a name",
        """
        from one import *

        def fit(x):
            return clean(x)
    """,
        ("from one", "from two"),
        files={"one.py": "def clean(x):\n    return x + 1\n", "two.py": "def clean(x):\n    return x + 2\n"},
        changes="fit",
    ),
    row(
        "the fallback of an import that worked",
        """
        try:
            import one as impl
        except ImportError:
            import two as impl

        def fit(x):
            return impl.clean(x)
    """,
        ("two.py", "x + 2", "x + 3"),
        files={"one.py": "def clean(x):\n    return x + 1\n", "two.py": "def clean(x):\n    return x + 2\n"},
        keeps="fit",
    ),
    row(
        "an import with a fallback",
        """
        try:
            import missing_one as impl
        except ImportError:
            import two as impl

        def fit(x):
            return impl.clean(x)
    """,
        ("two.py", "x + 2", "x + 3"),
        files={"two.py": "def clean(x):\n    return x + 2\n"},
        changes="fit",
    ),
    row(
        "modules that import each other",
        """
        import left

        def fit(x):
            return left.go(x)
    """,
        ("right.py", "x - 1", "x - 2"),
        files={
            "left.py": "import right\n\ndef go(x):\n    return x and right.back(x)\n",
            "right.py": "import left\n\ndef back(x):\n    return left.go(x - 1)\n",
        },
        changes="fit",
    ),
    row(
        "moving a function within its file",
        "def helper(x):\n    return x\n\ndef idle(x):\n    return x\n\ndef fit(x):\n    return helper(x)\n",
        ("def helper(x):\n    return x\n\n", ""),
        ("    return helper(x)\n", "    return helper(x)\n\n\ndef helper(x):\n    return x\n"),
        keeps="fit",
    ),
    row(
        "moving a function to another file",
        "def helper(x):\n    return x\n\ndef fit(x):\n    return helper(x)\n",
        ("def helper(x):\n    return x\n", "from other import helper\n"),
        after={"other.py": "def helper(x):\n    return x\n"},
        keeps="fit",
    ),
    row(
        "adding a module that nothing imports",
        "def fit(x):\n    return x\n",
        after={"other.py": "def helper(x):\n    return x\n"},
        keeps="fit",
    ),
    row(
        "adding an import at the top", "def fit(x):\n    return x\n", ("def fit", "import json\n\ndef fit"), keeps="fit"
    ),
    row(
        "a statement at the top that sets nothing",
        "def fit(x):\n    return x\n",
        ("def fit", "print('loaded')\n\ndef fit"),
        keeps="fit",
    ),
    row(
        "what is run as a script only",
        "def fit(x):\n    return x\n\nif __name__ == '__main__':\n    fit(1)\n",
        ("fit(1)", "fit(2)"),
        keeps="fit",
    ),
    row(
        "the name of the module, where it is read",
        "def fit(x):\n    return __name__\n",
        ("return __name__", "return (__name__)"),
        keeps="fit",
    ),
    row(
        "a module's own attribute that is computed when asked for",
        """
        import lazy

        def fit(x):
            return lazy.thing(x)
    """,
        ("lazy.py", "x + 1", "x + 2"),
        files={
            "lazy.py": "def __getattr__(name):\n    if name != 'thing':\n        raise AttributeError(name)\n    return lambda x: x + 1\n"
        },
        changes="fit",
        note="all of `lazy` counts",
    ),
    # Packages
    row(
        "a function deep in a package",
        USES_PACKAGE,
        ("pkg/deep/core.py", "min(", "max("),
        files=PACKAGE,
        changes="fit check",
        keeps="score",
    ),
    row(
        "a constant deep in a package",
        USES_PACKAGE,
        ("pkg/limits.py", "HIGH = 10", "HIGH = 20"),
        files=PACKAGE,
        changes="fit check",
        keeps="score",
    ),
    row(
        "a constant of a package that is not read",
        USES_PACKAGE,
        ("pkg/limits.py", "LOW = 1", "LOW = 2"),
        files=PACKAGE,
        keeps="fit check score",
    ),
    row(
        "a constant of a package itself",
        USES_PACKAGE,
        ("pkg/__init__.py", "VERSION = 1", "VERSION = 2"),
        files=PACKAGE,
        changes="score",
        keeps="fit check",
    ),
    row(
        "a function of a package that no stage calls",
        USES_PACKAGE,
        ("pkg/inner.py", "return x\n", "return -x\n"),
        files=PACKAGE,
        keeps="fit check score",
    ),
    row(
        "a package without an __init__",
        """
        import space.inner

        def fit(x):
            return space.inner.clean(x)
    """,
        ("space/inner.py", "x + 1", "x + 2"),
        files={"space/inner.py": "def clean(x):\n    return x + 1\n"},
        changes="fit",
    ),
    # Imports inside of functions
    row(
        "a function that is imported inside of the stage",
        LATE,
        ("helpers.py", "x + 1", "x + 2"),
        files={"helpers.py": HELPERS},
        changes="fit",
        keeps="score",
    ),
    row(
        "a module that is imported inside of the stage",
        LATE,
        ("helpers.py", "x * DEPTH", "x / DEPTH"),
        files={"helpers.py": HELPERS},
        changes="score",
        keeps="fit",
    ),
    row(
        "a constant behind an import inside of the stage",
        LATE,
        ("helpers.py", "DEPTH = 2", "DEPTH = 3"),
        files={"helpers.py": HELPERS},
        changes="score",
        keeps="fit",
    ),
    row(
        "a comment behind an import inside of the stage",
        LATE,
        ("helpers.py", "DEPTH = 2", "DEPTH = 2  # deep"),
        files={"helpers.py": HELPERS},
        keeps="score fit",
    ),
    row(
        "a module behind the module that is imported inside of the stage",
        LATE.replace("from helpers import clean", "from near import clean"),
        ("helpers.py", "x + 1", "x + 2"),
        files={"near.py": "import helpers\n\ndef clean(x):\n    return helpers.clean(x)\n", "helpers.py": HELPERS},
        changes="fit",
        keeps="score",
    ),
    row(
        "a relative import inside of a function of a package",
        """
        import pkg.outer

        def fit(x):
            return pkg.outer.run(x)
    """,
        ("pkg/core.py", "x + 1", "x + 2"),
        files={
            "pkg/__init__.py": "",
            "pkg/outer.py": "def run(x):\n    from .core import base\n    return base(x)\n",
            "pkg/core.py": "def base(x):\n    return x + 1\n",
        },
        changes="fit",
    ),
    row(
        "a submodule that is imported inside of the stage",
        """
        def fit(x):
            from pkg import core
            return core.base(x)

        def score(x):
            import pkg.core
            return pkg.core.idle(x)
    """,
        ("pkg/core.py", "x + 1", "x + 2"),
        files={"pkg/__init__.py": "", "pkg/core.py": "def base(x):\n    return x + 1\n\ndef idle(x):\n    return x\n"},
        changes="fit",
        keeps="score",
    ),
    row(
        "a class that is imported inside of the stage",
        """
        def fit(x):
            from models import Model
            return Model().apply(x)
    """,
        ("models.py", "x + 1", "x + 2"),
        files={
            "models.py": "class Base:\n    def apply(self, x):\n        return x + 1\n\nclass Model(Base):\n    pass\n"
        },
        changes="fit",
    ),
    row(
        "two imports of one name inside of the stage",
        """
        def fit(x):
            try:
                import one as impl
            except ImportError:
                import two as impl
            return impl.clean(x)
    """,
        ("two.py", "x + 2", "x + 3"),
        files={"one.py": "def clean(x):\n    return x + 1\n", "two.py": "def clean(x):\n    return x + 2\n"},
        changes="fit",
    ),
    row(
        "two aliases inside of the stage are swapped",
        """
        def fit(x):
            from helpers import clean as a, other as b
            return a(b(x))
    """,
        ("clean as a, other as b", "clean as b, other as a"),
        files={"helpers.py": HELPERS},
        changes="fit",
    ),
    row(
        "a constant that is computed behind an import inside of the stage",
        """
        def fit(x):
            from config import SIZE
            return SIZE
    """,
        ("config.py", "DEPTH = 2", "DEPTH = 3"),
        files={"config.py": "DEPTH = 2\nSIZE = DEPTH * 2\n"},
        changes="fit",
        note="`config` is imported while a function runs: the source text of its constants counts",
    ),
    row(
        "a star import behind an import inside of the stage",
        """
        def fit(x):
            from facade import clean
            return clean(x)
    """,
        ("helpers.py", "x + 1", "x + 2"),
        files={"facade.py": "from helpers import *\n", "helpers.py": HELPERS},
        changes="fit",
    ),
    row(
        "a module that is imported by its name",
        """
        import importlib

        def fit(x):
            return importlib.import_module("helpers").clean(x)
    """,
        ("helpers.py", "x + 1", "x + 2"),
        files={"helpers.py": HELPERS},
        changes="fit",
        note="all of `helpers` counts",
    ),
    row(
        "a plug-in that is imported for its effect inside of the stage",
        """
        def fit(x):
            import plugin
            return x
    """,
        ("plugin.py", "DEPTH = 1", "DEPTH = 2"),
        files={"plugin.py": "DEPTH = 1\n"},
        changes="fit",
        note="all of `plugin` counts",
    ),
    # Computed names
    row(
        "a function of a module that a computed name may give",
        WHOLE,
        ("helpers.py", "x + 1", "x + 2"),
        files={"helpers.py": HELPERS},
        changes="fit",
        note="all of `helpers` counts",
    ),
    row(
        "a computed name does not widen other stages",
        WHOLE,
        ("helpers.py", "x + 1", "x + 2"),
        files={"helpers.py": HELPERS},
        keeps="score",
    ),
    row(
        "a comment in a module that counts whole",
        WHOLE,
        ("helpers.py", "DEPTH = 2", "# two\nDEPTH = 2"),
        files={"helpers.py": HELPERS},
        keeps="fit",
        note="all of `helpers` counts",
    ),
    row(
        "what a module that counts whole reaches",
        WHOLE,
        ("deeper.py", "x - 1", "x - 2"),
        files={
            "helpers.py": "from deeper import base\n\ndef clean(x):\n    return base(x)\n",
            "deeper.py": "def base(x):\n    return x - 1\n",
        },
        changes="fit",
        note="all of `helpers` counts",
    ),
    row(
        "an attribute that is read by a literal name",
        """
        import helpers

        def fit(x):
            return getattr(helpers, "clean")(x)
    """,
        ("helpers.py", "x * DEPTH", "x / DEPTH"),
        files={"helpers.py": HELPERS},
        keeps="fit",
    ),
    row(
        "the function that a literal name gives",
        """
        import helpers

        def fit(x):
            return getattr(helpers, "clean")(x)
    """,
        ("helpers.py", "x + 1", "x + 2"),
        files={"helpers.py": HELPERS},
        changes="fit",
    ),
    row(
        "a module that is given on",
        """
        import helpers

        def run(module, x):
            return module.clean(x)

        def fit(x):
            return run(helpers, x)
    """,
        ("helpers.py", "x + 1", "x + 2"),
        files={"helpers.py": HELPERS},
        changes="fit",
        note="all of `helpers` counts",
    ),
    row(
        "a module in a dictionary",
        """
        import helpers

        KINDS = {"h": helpers}

        def fit(x):
            return KINDS["h"].clean(x)
    """,
        ("helpers.py", "x + 1", "x + 2"),
        files={"helpers.py": HELPERS},
        changes="fit",
        note="all of `helpers` counts",
    ),
    row(
        "the names of a module by vars()",
        """
        import helpers

        def fit(name, x):
            return vars(helpers)[name](x)
    """,
        ("helpers.py", "x + 1", "x + 2"),
        files={"helpers.py": HELPERS},
        changes="fit",
        note="all of `helpers` counts",
    ),
    row(
        "globals() widens to the stage's own module",
        """
        def clean(x):
            return x + 1

        def fit(name, x):
            return globals()[name](x)
    """,
        ("x + 1", "x + 2"),
        changes="fit",
        note="`globals` is used as a value",
    ),
    row(
        "the module by its own name",
        """
        import sys

        def clean(x):
            return x + 1

        def fit(name, x):
            return getattr(sys.modules[__name__], name)(x)
    """,
        ("x + 1", "x + 2"),
        changes="fit",
        note="all Python of the project counts",
    ),
    row(
        "eval widens to all Python of the project",
        """
        def fit(text):
            return eval(text)

        def score(x):
            return x
    """,
        ("other.py", "x + 1", "x + 2"),
        files={"other.py": "def helper(x):\n    return x + 1\n"},
        changes="fit",
        note="`eval` in `pipelines.fit`: all Python of the project counts",
    ),
    row(
        "exec widens to all Python of the project",
        """
        def fit(text):
            exec(text)
    """,
        ("other.py", "x + 1", "x + 2"),
        files={"other.py": "def helper(x):\n    return x + 1\n"},
        changes="fit",
        note="all Python of the project counts",
    ),
    row(
        "a comment in the project of a stage that calls eval",
        """
        def fit(text):
            return eval(text)
    """,
        ("other.py", "def", "# a comment\ndef"),
        files={"other.py": "def helper(x):\n    return x + 1\n"},
        keeps="fit",
        note="all Python of the project counts",
    ),
    row(
        "a method called eval is no eval",
        """
        def fit(table):
            return table.eval("a + b")
    """,
        ("other.py", "x + 1", "x + 2"),
        files={"other.py": "def helper(x):\n    return x + 1\n"},
        keeps="fit",
    ),
    row(
        "a computed import",
        """
        from importlib import import_module

        def fit(name, x):
            return import_module(name).helper(x)
    """,
        ("other.py", "x + 1", "x + 2"),
        files={"other.py": "def helper(x):\n    return x + 1\n"},
        changes="fit",
        note="all Python of the project counts",
    ),
    row(
        "a computed import by __import__",
        """
        def fit(name, x):
            return __import__(name).helper(x)
    """,
        ("other.py", "x + 1", "x + 2"),
        files={"other.py": "def helper(x):\n    return x + 1\n"},
        changes="fit",
        note="all Python of the project counts",
    ),
    row(
        "a computed import in a helper",
        """
        import importlib

        def load(name):
            return importlib.import_module(name)

        def fit(name, x):
            return load(name).helper(x)
    """,
        ("other.py", "x + 1", "x + 2"),
        files={"other.py": "def helper(x):\n    return x + 1\n"},
        changes="fit",
        note="all Python of the project counts",
    ),
    row(
        "an environment inside of the project is not the project's",
        """
        def fit(text):
            return eval(text)
    """,
        (".venv/lib/python3.11/site-packages/thing.py", "1", "2"),
        ("env/lib/thing.py", "1", "2"),
        files={
            ".venv/lib/python3.11/site-packages/thing.py": "x = 1\n",
            "env/pyvenv.cfg": "",
            "env/lib/thing.py": "x = 1\n",
        },
        keeps="fit",
        note="all Python of the project counts",
    ),
    # Distributions
    row(
        "the version of a distribution",
        USES_LIBRARY,
        files=LIBRARY,
        after=renamed("1.0", "1.1", only("lib")),
        changes="fit",
        keeps="score",
    ),
    row(
        "the version of what a distribution requires",
        USES_LIBRARY,
        files=LIBRARY,
        after=renamed("3.0", "3.1", only("under")),
        changes="fit",
        keeps="score",
    ),
    row(
        "the version of a distribution that is not reached",
        USES_LIBRARY,
        files=LIBRARY,
        after=renamed("1.0", "1.1", only("idle")),
        keeps="fit score",
    ),
    row(
        "a function of a distribution under an alias",
        """
        from lib import run as f

        def fit(x):
            return f(x)
    """,
        ("run as f", "walk as f"),
        files=LIBRARY,
        changes="fit",
    ),
    row(
        "a distribution that is imported inside of the stage",
        """
        def fit(x):
            import lib
            return lib.run(x)

        def score(x):
            return x
    """,
        files=LIBRARY,
        after=renamed("1.0", "1.1", only("lib")),
        changes="fit",
        keeps="score",
    ),
    row(
        "a name of a distribution that is imported inside of the stage",
        """
        def fit(x):
            from lib import run as f
            return f(x)
    """,
        ("run as f", "walk as f"),
        files=LIBRARY,
        changes="fit",
    ),
    row(
        "the files of a distribution that comes from a folder",
        USES_LIBRARY,
        ("site-packages/lib-1.0.dist-info/RECORD", "sha256=aaa", "sha256=zzz"),
        files={**LIBRARY, **direct("file:///somewhere", editable=False)},
        changes="fit",
        keeps="score",
    ),
    row(
        "the files of a distribution that comes from an index go by its version",
        USES_LIBRARY,
        ("site-packages/lib-1.0.dist-info/RECORD", "sha256=aaa", "sha256=zzz"),
        files=LIBRARY,
        keeps="fit score",
    ),
    row(
        "a function under a decorator of a distribution",
        """
        from lib import wrap

        @wrap
        def helper(x):
            return x + 1

        def fit(x):
            return helper(x)
    """,
        ("x + 1", "x + 2"),
        files={
            **LIBRARY,
            "site-packages/lib/__init__.py": "def wrap(f):\n    def inner(x):\n        return f(x)\n    return inner\n",
        },
        changes="fit",
    ),
    row(
        "what a decorator of a distribution is given",
        """
        from lib import wrap

        TIMES = 3

        @wrap(TIMES)
        def helper(x):
            return x + 1

        def fit(x):
            return helper(x)
    """,
        ("TIMES = 3", "TIMES = 4"),
        files={
            **LIBRARY,
            "site-packages/lib/__init__.py": "def wrap(n):\n    def outer(f):\n        def inner(x):\n            return f(x) * n\n        return inner\n    return outer\n",
        },
        changes="fit",
    ),
    row(
        "an object of a distribution that wraps a function",
        """
        from lib import Wrap

        @Wrap
        def helper(x):
            return x + 1

        def fit(x):
            return helper(x)
    """,
        ("x + 1", "x + 2"),
        files={
            **LIBRARY,
            "site-packages/lib/__init__.py": "class Wrap:\n    def __init__(self, f):\n        self.f = f\n    def __call__(self, x):\n        return self.f(x)\n",
        },
        changes="fit",
    ),
    row(
        "an object of a distribution counts as written",
        """
        from lib import Model

        DEPTH = 3
        MODEL = Model(depth=DEPTH)

        def fit(x):
            return MODEL.apply(x)
    """,
        ("DEPTH = 3", "DEPTH = 4"),
        files={
            **LIBRARY,
            "site-packages/lib/__init__.py": "class Model:\n    def __init__(self, depth):\n        self.depth = depth\n",
        },
        changes="fit",
        note="`pipelines.MODEL` has no readable value (lib.Model): its source text counts",
    ),
    row(
        "what is done to an object of a distribution while its module is loaded",
        """
        from lib import Model

        MODEL = Model(depth=1)
        MODEL.depth = 2

        def fit(x):
            return MODEL.apply(x)
    """,
        ("MODEL.depth = 2", "MODEL.depth = 3"),
        files={
            **LIBRARY,
            "site-packages/lib/__init__.py": "class Model:\n    def __init__(self, depth):\n        self.depth = depth\n",
        },
        changes="fit",
        note="source text counts",
    ),
    row(
        "a function that a distribution made",
        """
        from lib import maker

        add = maker(1)

        def fit(x):
            return add(x)
    """,
        ("maker(1)", "maker(2)"),
        files={
            **LIBRARY,
            "site-packages/lib/__init__.py": "def maker(n):\n    def add(x):\n        return x + n\n    return add\n",
        },
        changes="fit",
        note="source text counts",
    ),
    row(
        "an object of a distribution that can't even be looked at",
        """
        from lib import Proxy

        CURRENT = Proxy(1)

        def fit(x):
            return CURRENT.apply(x)
        """,
        ("Proxy(1)", "Proxy(2)"),
        files={
            **LIBRARY,
            "site-packages/lib/__init__.py": """
                class Proxy:
                    def __init__(self, n):
                        object.__setattr__(self, "n", n)

                    def __getattribute__(self, name):
                        raise RuntimeError("outside of any context")

                    __class__ = property(lambda self: self.nothing)
                    __name__ = property(lambda self: self.nothing)

                    def __call__(self):
                        raise RuntimeError("outside of any context")

                    __repr__ = __hash__ = __call__

                    def __eq__(self, other):
                        raise RuntimeError("outside of any context")

                    def __bool__(self):
                        raise RuntimeError("outside of any context")
            """,
        },
        changes="fit",
        note="source text counts",
    ),
    row(
        "a class with a base of a distribution",
        """
        from lib import Base

        class Model(Base):
            def apply(self, x):
                return x + 1

        def fit(x):
            return Model().apply(x)
    """,
        files={**LIBRARY, "site-packages/lib/__init__.py": "class Base:\n    pass\n"},
        after=renamed("1.0", "1.1", only("lib")),
        changes="fit class:Model",
    ),
    row(
        "a docstring under a decorator that reads docstrings",
        """
        from lib import tool

        @tool
        def helper(x):
            '''One.'''
            return x

        def fit(x):
            return helper(x)
    """,
        ("One.", "Two."),
        files={**LIBRARY, "site-packages/lib/__init__.py": "def tool(f):\n    f.text = f.__doc__\n    return f\n"},
        changes="fit",
    ),
    row(
        "the docstring of a class whose base reads docstrings",
        """
        from lib import Signature

        class Answer(Signature):
            '''Answer the question.'''

        def fit(x):
            return Answer
    """,
        ("Answer the question.", "Answer briefly."),
        files={
            **LIBRARY,
            "site-packages/lib/__init__.py": "class Signature:\n    def __init_subclass__(cls):\n        cls.prompt = cls.__doc__\n",
        },
        changes="fit",
    ),
    row(
        "an annotation of a function that is given to a distribution",
        """
        import lib

        def helper(x: int):
            return x

        def fit(x):
            return lib.checked(helper)(x)
    """,
        ("x: int", "x: float"),
        files={**LIBRARY, "site-packages/lib/__init__.py": "def checked(f):\n    return f\n"},
        changes="fit",
    ),
    row(
        "a distribution that is no longer there",
        """
        def fit(x):
            import lib
            return lib.run(x)
    """,
        files=LIBRARY,
        after=dict.fromkeys(only("lib")),
        changes="fit",
    ),
    row(
        "a function of an editable install",
        USES_LIBRARY,
        ("elsewhere/lib/inner.py", "x + 1", "x + 2"),
        files=EDITABLE,
        changes="fit",
        keeps="score",
    ),
    row(
        "a function of an editable install that is imported inside of the stage",
        """
        def fit(x):
            from lib.inner import run
            return run(x)

        def score(x):
            from lib.inner import walk
            return walk(x)
        """,
        ("elsewhere/lib/inner.py", "x + 1", "x + 2"),
        files=EDITABLE,
        changes="fit",
        keeps="score",
    ),
    row(
        "a function of an editable install that is loaded already and imported inside of the stage",
        """
        import lib

        def fit(x):
            from lib.inner import run
            return run(x)
        """,
        ("elsewhere/lib/inner.py", "x + 1", "x + 2"),
        files=EDITABLE,
        changes="fit",
    ),
    row(
        "a module on the import path that no distribution has",
        """
        import loose

        def fit(x):
            return loose.run(x)
        """,
        ("elsewhere/loose.py", "x + 1", "x + 2"),
        files={"elsewhere/loose.py": "def run(x):\n    return x + 1\n"},
        changes="fit",
    ),
    row(
        "a module on the import path that no distribution has, imported inside of the stage",
        """
        def fit(x):
            import loose
            return loose.run(x)
        """,
        ("elsewhere/loose.py", "x + 1", "x + 2"),
        files={"elsewhere/loose.py": "def run(x):\n    return x + 1\n"},
        changes="fit",
    ),
    row(
        "a module of the project that is called as one of the standard library",
        """
        import sched

        def fit(x):
            return sched.run(x)
        """,
        ("sched.py", "x + 1", "x + 2"),
        files={"sched.py": "def run(x):\n    return x + 1\n"},
        changes="fit",
    ),
    row(
        "a function of the project that is put among the built-in ones",
        """
        import builtins

        def shout(x):
            return x + 1

        builtins.shout_at = shout

        def fit(x):
            return shout_at(x)
        """,
        ("x + 1", "x + 2"),
        changes="fit",
    ),
    row(
        "a function of another module that is replaced",
        """
        import helpers

        def clean(x):
            return x + 5

        helpers.clean = clean

        def fit(x):
            return helpers.clean(x)
        """,
        ("x + 5", "x + 6"),
        files={"helpers.py": HELPERS},
        changes="fit",
    ),
    row(
        "the version of a distribution in an editable install's metadata is not its code",
        "def fit(x):\n    return x\n",
        files=LIBRARY,
        after=renamed("1.0", "1.1", only("lib")),
        keeps="fit",
    ),
]
