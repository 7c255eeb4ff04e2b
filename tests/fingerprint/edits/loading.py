"""What bodies of modules do that an import inside of a function runs: they import, register, patch, bind anew."""

# ruff: noqa: E501  the source in a row reads best as it is

from __future__ import annotations

from tests.fingerprint.edits.row import row

LOADED = "is loaded while a function runs"
REGISTRY = "KNOWN = {}\n\ndef register(name):\n    def add(function):\n        KNOWN[name] = function\n        return function\n    return add\n"
PLUGIN = "from registry import register\n\n@register('clean')\ndef clean(x):\n    return x + 1\n\ndef main(x):\n    return x\n"
PACKAGE = {
    "pkg/__init__.py": "from . import sub\nfrom . import idle\n",
    "pkg/sub.py": "DEPTH = 2\n\ndef clean(x):\n    return x + DEPTH\n",
    "pkg/idle.py": "DEPTH = 2\n",
}
USES_PACKAGE = """
    def fit(x):
        import pkg
        return pkg.sub.clean(x)

    def score(x):
        from pkg import sub
        return sub.clean(x)

    def check(x):
        from pkg.sub import clean
        return clean(x)

    def idle(x):
        import pkg
        return pkg.idle.DEPTH
"""

CLI = "import commands\nfrom cli import app\n\ndef fit(x):\n    return app\n"
WRITTEN = "source text counts"

ROWS = [
    # Packages that import their own modules
    row(
        "a module that a package imports from itself, imported inside of a function",
        USES_PACKAGE,
        ("pkg/sub.py", "x + DEPTH", "x - DEPTH"),
        files=PACKAGE,
        changes="fit score check",
        keeps="idle",
    ),
    row(
        "a constant of a module that a package imports from itself",
        USES_PACKAGE,
        ("pkg/sub.py", "DEPTH = 2", "DEPTH = 3"),
        files=PACKAGE,
        changes="fit score check",
        keeps="idle",
    ),
    row(
        "a module that a package imports from itself by its full name",
        USES_PACKAGE,
        ("pkg/sub.py", "x + DEPTH", "x - DEPTH"),
        files={**PACKAGE, "pkg/__init__.py": "from pkg import sub, idle\n"},
        changes="fit score check",
        keeps="idle",
    ),
    row(
        "a module that a package imports from itself, and wraps",
        "def fit(x):\n    from pkg import sub\n    return sub(x)\n",
        ("pkg/sub.py", "x + DEPTH", "x - DEPTH"),
        files={
            **PACKAGE,
            "pkg/__init__.py": "from . import sub\n\ndef wrap(m):\n    return m.clean\n\nsub = wrap(sub)\n",
        },
        changes="fit",
        note="",
    ),
    row(
        "a module of a package in a package",
        "def fit(x):\n    import pkg.deep\n    return pkg.deep.sub.clean(x)\n",
        ("pkg/deep/sub.py", "x + 1", "x - 1"),
        files={
            "pkg/__init__.py": "from . import deep\n",
            "pkg/deep/__init__.py": "from . import sub\n",
            "pkg/deep/sub.py": "def clean(x):\n    return x + 1\n",
        },
        changes="fit",
    ),
    row(
        "a module that a package imports from itself under another name",
        "def fit(x):\n    import pkg\n    return pkg.tool.clean(x)\n",
        ("pkg/sub.py", "x + DEPTH", "x - DEPTH"),
        files={**PACKAGE, "pkg/__init__.py": "from . import sub as tool\n"},
        changes="fit",
        note="is used as a value",
    ),
    # Registries
    row(
        "a function that a module registers, imported inside of a function",
        "def fit(x):\n    from registry import KNOWN\n    from plugin import main\n    return KNOWN['clean'](main(x))\n\ndef score(x):\n    from registry import KNOWN\n    return KNOWN\n",
        ("plugin.py", "x + 1", "x + 2"),
        files={"registry.py": REGISTRY, "plugin.py": PLUGIN},
        changes="fit",
        note="",
    ),
    row(
        "a function that is registered by a module that the registry's package imports",
        "def fit(x):\n    from pkg.registry import KNOWN\n    return KNOWN['clean'](x)\n",
        ("pkg/plugin.py", "x + 1", "x + 2"),
        files={
            "pkg/__init__.py": "from . import plugin\n",
            "pkg/registry.py": REGISTRY,
            "pkg/plugin.py": PLUGIN.replace("from registry", "from .registry"),
        },
        changes="fit",
        note=LOADED,
    ),
    row(
        "a function that the stage's own module registered, read inside of a function",
        "import plugin\n\ndef fit(x):\n    from registry import KNOWN\n    return KNOWN['clean'](x)\n",
        ("plugin.py", "x + 1", "x + 2"),
        files={"registry.py": REGISTRY, "plugin.py": PLUGIN},
        changes="fit",
        note=LOADED,
    ),
    row(
        "the name that a function is registered by",
        "def fit(x):\n    from registry import KNOWN\n    from plugin import main\n    return KNOWN['clean'](main(x))\n",
        ("plugin.py", "'clean'", "'other'"),
        files={"registry.py": REGISTRY, "plugin.py": PLUGIN},
        changes="fit",
        note=LOADED,
    ),
    row(
        "an entry that is stored in another module's dictionary",
        "def fit(x):\n    from plugin import main\n    import registry\n    return registry.KNOWN['depth']\n",
        ("plugin.py", "= 2", "= 3"),
        files={
            "registry.py": "KNOWN = {}\n",
            "plugin.py": "import registry\n\nregistry.KNOWN['depth'] = 2\n\ndef main(x):\n    return x\n",
        },
        changes="fit",
        note=LOADED,
    ),
    row(
        "an entry that is stored by way of an alias",
        "def fit(x):\n    from plugin import main\n    import registry\n    return registry.KNOWN['depth']\n",
        ("plugin.py", "= 2", "= 3"),
        files={
            "registry.py": "KNOWN = {}\n",
            "plugin.py": "import registry\n\nknown = registry.KNOWN\nknown['depth'] = 2\n\ndef main(x):\n    return x\n",
        },
        changes="fit",
        note=LOADED,
    ),
    row(
        "a class that its base registers",
        "def fit(x):\n    from base import Base\n    from models import main\n    return Base.known['Model']().apply(main(x))\n",
        ("models.py", "x + 1", "x + 2"),
        files={
            "base.py": "class Base:\n    known = {}\n\n    def __init_subclass__(cls):\n        Base.known[cls.__name__] = cls\n",
            "models.py": "from base import Base\n\nclass Model(Base):\n    def apply(self, x):\n        return x + 1\n\ndef main(x):\n    return x\n",
        },
        changes="fit",
        note=LOADED,
    ),
    row(
        "plugins that a package finds by itself",
        "def fit(x):\n    from plugins import KNOWN\n    return KNOWN['clean'](x)\n",
        ("plugins/one.py", "x + 1", "x + 2"),
        files={
            "plugins/__init__.py": "import importlib\nimport pkgutil\n\nKNOWN = {}\n\nfor each in pkgutil.iter_modules(__path__):\n    importlib.import_module(f'{__name__}.{each.name}')\n",
            "plugins/one.py": "from plugins import KNOWN\n\ndef clean(x):\n    return x + 1\n\nKNOWN['clean'] = clean\n",
        },
        changes="fit",
        note="all Python of the project counts",
    ),
    row(
        "an overload that is registered inside of a late module",
        "def fit(x):\n    from shapes import area\n    import circles\n    return area(circles.Circle())\n",
        ("circles.py", "return 3", "return 4"),
        files={
            "shapes.py": "import functools\n\n@functools.singledispatch\ndef area(x):\n    return 0\n",
            "circles.py": "from shapes import area\n\nclass Circle:\n    pass\n\n@area.register\ndef _(x: Circle):\n    return 3\n",
        },
        changes="fit",
        note=LOADED,
    ),
    row(
        "an overload beside its function",
        "def fit(x):\n    from shapes import area\n    return area(x)\n",
        ("shapes.py", "return 3", "return 4"),
        files={
            "shapes.py": "import functools\n\n@functools.singledispatch\ndef area(x):\n    return 0\n\n@area.register\ndef _(x: int):\n    return 3\n\n@area.register(str)\ndef _(x):\n    return 5\n"
        },
        changes="fit",
        note=LOADED,
    ),
    # Patches, and names that are bound anew
    row(
        "a function that another module replaces",
        "def fit(x):\n    from helpers import clean\n    from patches import main\n    return clean(main(x))\n",
        ("patches.py", "x + 2", "x + 3"),
        files={
            "helpers.py": "def clean(x):\n    return x + 1\n",
            "patches.py": "import helpers\n\ndef fast(x):\n    return x + 2\n\nhelpers.clean = fast\n\ndef main(x):\n    return x\n",
        },
        changes="fit",
        note=LOADED,
    ),
    row(
        "a method that another module replaces",
        "def fit(x):\n    from models import Model\n    from patches import main\n    return Model().apply(main(x))\n",
        ("patches.py", "x + 2", "x + 3"),
        files={
            "models.py": "class Model:\n    def apply(self, x):\n        return x + 1\n",
            "patches.py": "from models import Model\n\ndef fast(self, x):\n    return x + 2\n\nsetattr(Model, 'apply', fast)\n\ndef main(x):\n    return x\n",
        },
        changes="fit",
        note=LOADED,
    ),
    row(
        "a constant that a function of its module binds anew while it is loaded",
        "def fit(x):\n    from config import DEPTH\n    return x + DEPTH\n",
        ("config.py", "DEPTH = 3", "DEPTH = 4"),
        files={"config.py": "DEPTH = 2\n\ndef init():\n    global DEPTH\n    DEPTH = 3\n\ninit()\n"},
        changes="fit",
        note=LOADED,
    ),
    row(
        "a library's function that a late module replaces",
        "def fit(x):\n    import json\n    from patches import main\n    return json.dumps(main(x))\n",
        ("patches.py", "return 'a'", "return 'b'"),
        files={
            "patches.py": "import json\n\ndef dumps(x):\n    return 'a'\n\njson.dumps = dumps\n\ndef main(x):\n    return x\n"
        },
        changes="fit",
        note=LOADED,
    ),
    row(
        "a function of a late module that replaces another module's",
        "def fit(x):\n    import helpers\n    from patches import apply\n    apply()\n    return helpers.clean(x)\n",
        ("patches.py", "x + 2", "x + 3"),
        files={
            "helpers.py": "def clean(x):\n    return x + 1\n",
            "patches.py": "import helpers\n\ndef fast(x):\n    return x + 2\n\ndef apply():\n    helpers.clean = fast\n",
        },
        changes="fit",
        uncached="changes `helpers.clean`",
        note="is used as a value",
    ),
    row(
        "what a late module does that touches nothing of the project",
        "def fit(x):\n    from helpers import clean\n    return clean(x)\n",
        ("helpers.py", "LOG = logging.getLogger('a')", "LOG = logging.getLogger('b')"),
        files={
            "helpers.py": "import logging\nimport warnings\n\nLOG = logging.getLogger('a')\nLOG.setLevel(10)\nwarnings.simplefilter('ignore')\nNAMES = []\nNAMES.append('x')\n\ndef clean(x):\n    return x + 1\n"
        },
        keeps="fit",
    ),
    row(
        "an application that a late module makes",
        "def fit(x):\n    from cli import app\n    return app\n",
        ("cli.py", "x + 1", "x + 2"),
        files={
            "cli.py": "import threading\n\napp = threading.local()\n\ndef command(function):\n    return function\n\napp.command = command\n\n@app.command\ndef clean(x):\n    return x + 1\n"
        },
        changes="fit",
        note="",
    ),
    # Modules that put something else in their place
    row(
        "a module that puts an object in its place, imported at the top",
        "import cfg\n\ndef fit(x):\n    return x + cfg.DEPTH\n\ndef score(x):\n    return cfg.size(x)\n",
        ("cfg.py", "DEPTH = 2", "DEPTH = 3"),
        files={
            "cfg.py": "import sys\n\nclass Cfg:\n    DEPTH = 2\n\n    def size(self, x):\n        return x + 1\n\nsys.modules[__name__] = Cfg()\n"
        },
        changes="fit score",
    ),
    row(
        "a module that puts an object without methods in its place",
        "import cfg\n\ndef fit(x):\n    return x + cfg.DEPTH\n",
        ("cfg.py", "DEPTH = 2", "DEPTH = 3"),
        files={"cfg.py": "import sys\n\nclass Cfg:\n    DEPTH = 2\n\nsys.modules[__name__] = Cfg()\n"},
        changes="fit",
    ),
    row(
        "an attribute of an object in the place of a module",
        "import cfg\n\ndef fit(x):\n    return x + cfg.depth\n",
        ("cfg.py", "depth = 2", "depth = 3"),
        files={
            "cfg.py": "import sys\n\nclass Cfg:\n    def __init__(self):\n        self.depth = 2\n\nsys.modules[__name__] = Cfg()\n"
        },
        changes="fit",
    ),
    row(
        "a name of an object in the place of a module",
        "from cfg import depth\n\ndef fit(x):\n    return x + depth()\n",
        ("cfg.py", "return 2", "return 3"),
        files={
            "cfg.py": "import sys\n\nclass Cfg:\n    def depth(self):\n        return 2\n\nsys.modules[__name__] = Cfg()\n"
        },
        changes="fit",
    ),
    row(
        "a module that puts an object in its place, imported inside of a function",
        "def fit(x):\n    import cfg\n    return x + cfg.DEPTH\n",
        ("cfg.py", "DEPTH = 2", "DEPTH = 3"),
        files={"cfg.py": "import sys\n\nclass Cfg:\n    DEPTH = 2\n\nsys.modules[__name__] = Cfg()\n"},
        changes="fit",
        note="",
    ),
    # Objects of a library that the project's code is registered with
    row(
        "a function that a library's object holds",
        CLI.replace("import commands\n", ""),
        ("cli.py", "x + 1", "x + 2"),
        files={
            "cli.py": "import typer\n\napp = typer.Typer()\n\n@app.command()\ndef clean(x: int):\n    return x + 1\n\n@app.command()\ndef other(x: int):\n    return x\n"
        },
        changes="fit",
        note=WRITTEN,
        needs="typer",
    ),
    row(
        "the name that a library's object has a function by",
        CLI.replace("import commands\n", ""),
        ("cli.py", "'clean'", "'neat'"),
        files={
            "cli.py": "import typer\n\napp = typer.Typer()\n\n@app.command('clean')\ndef clean(x: int):\n    return x + 1\n"
        },
        changes="fit",
        note=WRITTEN,
        needs="typer",
    ),
    row(
        "a function that another module registers with a library's object",
        CLI,
        ("commands.py", "x + 1", "x + 2"),
        files={
            "cli.py": "import typer\n\napp = typer.Typer()\n",
            "commands.py": "from cli import app\n\n@app.command()\ndef clean(x: int):\n    return helper(x)\n\ndef helper(x):\n    return x + 1\n",
        },
        changes="fit",
        note=WRITTEN,
        needs="typer",
    ),
    row(
        "a value that another module sets of a library's object",
        CLI,
        ("commands.py", "= 2", "= 3"),
        files={
            "cli.py": "import threading\n\napp = threading.local()\n",
            "commands.py": "import cli\n\ncli.app.depth = 2\n",
        },
        changes="fit",
        note=WRITTEN,
    ),
    row(
        "a value that a function of another module sets of a library's object",
        CLI,
        ("commands.py", "= 2", "= 3"),
        files={
            "cli.py": "import threading\n\napp = threading.local()\n",
            "commands.py": "from cli import app\n\ndef setup(app):\n    app.depth = 2\n\nsetup(app)\n",
        },
        changes="fit",
        note=WRITTEN,
    ),
    row(
        "a module that uses a library's object and changes nothing of it",
        CLI,
        ("commands.py", "return 1", "return 2"),
        files={
            "cli.py": "import threading\n\napp = threading.local()\n",
            "commands.py": "from cli import app\n\ndef idle():\n    app.depth = 2\n    return 1\n",
        },
        keeps="fit",
        note=WRITTEN,
    ),
]
