"""State that changes while stages run, and edits that are made while the process lives."""

from __future__ import annotations

from tests.fingerprint.edits.row import row

IDLE = ("def fit", "# a comment\ndef fit")
"""An edit that changes nothing: these rows look at what forbids reuse."""

HELPER = """
    DEPTH = 2

    def helper(x):
        return x + DEPTH

    def idle(x):
        return x

    def fit(x):
        return helper(x)

    def score(x):
        return idle(x)
"""

CLASS = """
    class Model:
        depth = 2

        def apply(self, x):
            return x + self.depth

    def fit(x):
        return Model().apply(x)

    def score(x):
        return x
"""

ROWS = [
    # Closures
    row(
        "a closure that counts with nonlocal",
        """
        def counter():
            n = 0

            def count():
                nonlocal n
                n += 1
                return n

            return count

        count = counter()

        def fit(x):
            return count() + x
    """,
        IDLE,
        keeps="fit",
        uncached="changes `n`, which it closes over, while it runs",
    ),
    row(
        "a closure that appends to a list",
        """
        def collector():
            seen = []

            def collect(x):
                seen.append(x)
                return len(seen)

            return collect

        collect = collector()

        def fit(x):
            return collect(x)
    """,
        IDLE,
        keeps="fit",
        uncached="changes `seen`, which it closes over",
    ),
    row(
        "a closure that fills a dictionary",
        """
        def memoised(function):
            known = {}

            def wrapper(x):
                if x not in known:
                    known[x] = function(x)
                return known[x]

            return wrapper

        @memoised
        def helper(x):
            return x

        def fit(x):
            return helper(x)
    """,
        IDLE,
        keeps="fit",
        uncached="changes `known`, which it closes over",
    ),
    row(
        "a closure over a list that a sibling changes",
        """
        def pair():
            seen = [1]

            def add(x):
                seen.append(x)

            def total():
                return sum(seen)

            return add, total

        add, total = pair()

        def fit(x):
            return total()
    """,
        IDLE,
        keeps="fit",
        uncached="changes `seen`, which it closes over",
    ),
    row(
        "a closure over a list that its maker fills before",
        """
        def chooser():
            names = []
            for name in ("a", "b"):
                names.append(name)

            def choose(x):
                return [x[name] for name in names]

            return choose

        choose = chooser()

        def fit(x):
            return choose(x)
    """,
        IDLE,
        keeps="fit",
    ),
    row(
        "a closure that gives its list to a function which changes it",
        """
        def push(items, x):
            items.append(x)

        def collector():
            seen = []

            def collect(x):
                push(seen, x)
                return len(seen)

            return collect

        collect = collector()

        def fit(x):
            return collect(x)
    """,
        IDLE,
        keeps="fit",
        uncached="changes `seen`, which it closes over",
    ),
    row(
        "a closure over an object whose method changes it",
        """
        class Counter:
            def __init__(self):
                self.n = 0

            def bump(self):
                self.n += 1
                return self.n

        def make(counter):
            return lambda x: counter.bump() + x

        bump = make(Counter())

        def fit(x):
            return bump(x)
    """,
        IDLE,
        keeps="fit",
        uncached="changes `counter`, which it closes over",
    ),
    row(
        "a closure over an iterator",
        """
        def make(numbers):
            return lambda: next(numbers)

        draw = make(iter([1, 2, 3]))

        def fit(x):
            return draw()
    """,
        IDLE,
        keeps="fit",
        uncached="which changes while it is used",
        note="no readable value",
    ),
    row(
        "a method of a class in a function that changes what it closes over",
        """
        def make():
            seen = []

            class Model:
                def apply(self, x):
                    seen.append(x)
                    return len(seen)

            return Model

        Model = make()

        def fit(x):
            return Model().apply(x)
    """,
        IDLE,
        keeps="fit",
        uncached="changes `seen`, which it closes over",
    ),
    row(
        "a closure over text, numbers and tuples changes nothing",
        """
        def make(a, b, c):
            def inner(x):
                a_local = [a]
                a_local.append(b)
                return a_local, c
            return inner

        inner = make("a", 1, (1, 2))

        def fit(x):
            return inner(x)
    """,
        IDLE,
        keeps="fit",
    ),
    # Globals
    row(
        "a global that a helper binds anew",
        """
        COUNT = 0

        def bump():
            global COUNT
            COUNT += 1
            return COUNT

        def fit(x):
            return bump()

        def score(x):
            return x
    """,
        IDLE,
        keeps="fit",
        uncached="`pipelines.bump` changes the global `COUNT` while it runs",
    ),
    row(
        "another stage of the same module stays cached",
        """
        COUNT = 0

        def bump():
            global COUNT
            COUNT += 1

        def fit(x):
            return x
    """,
        IDLE,
        keeps="fit",
    ),
    row(
        "a global list that a helper appends to",
        """
        SEEN = []

        def helper(x):
            SEEN.append(x)
            return len(SEEN)

        def fit(x):
            return helper(x)
    """,
        IDLE,
        keeps="fit",
        uncached="`pipelines.helper` changes `SEEN` while it runs",
    ),
    row(
        "a global dictionary that is filled as a memo",
        """
        KNOWN = {}

        def helper(x):
            if x not in KNOWN:
                KNOWN[x] = x * 2
            return KNOWN[x]

        def fit(x):
            return helper(x)
    """,
        IDLE,
        keeps="fit",
    ),
    row(
        "a count in a global dictionary",
        """
        COUNTS = {"n": 0}

        def fit(x):
            COUNTS["n"] += 1
            return COUNTS["n"]
    """,
        IDLE,
        keeps="fit",
        uncached="changes `COUNTS` while it runs",
    ),
    row(
        "a count in a global dictionary, spelled out",
        """
        COUNTS = {"n": 0}

        def fit(x):
            COUNTS["n"] = COUNTS["n"] + 1
            return COUNTS["n"]
    """,
        IDLE,
        keeps="fit",
        uncached="changes `COUNTS` while it runs",
    ),
    row(
        "an attribute of another module that is set",
        """
        import config

        def fit(x):
            config.DEPTH = x
            return x
    """,
        IDLE,
        files={"config.py": "DEPTH = 1\n"},
        keeps="fit",
        uncached="changes `config` while it runs",
        note="all of `config` counts",
    ),
    row(
        "a count in a function's attribute",
        """
        def helper(x):
            helper.calls += 1
            return helper.calls

        helper.calls = 0

        def fit(x):
            return helper(x)
    """,
        IDLE,
        keeps="fit",
        uncached="changes `helper` while it runs",
    ),
    row(
        "a count in a class's attribute",
        """
        class Model:
            made = 0

            def __init__(self):
                Model.made += 1

        def fit(x):
            return Model().made
    """,
        IDLE,
        keeps="fit",
        uncached="changes `Model` while it runs",
    ),
    row(
        "a global object whose method counts",
        """
        class Counter:
            def __init__(self):
                self.n = 0

            def bump(self):
                self.n = self.n + 1
                return self.n

        COUNTER = Counter()

        def fit(x):
            return COUNTER.bump()
    """,
        IDLE,
        keeps="fit",
        uncached="changes `COUNTER` while it runs",
    ),
    row(
        "a global object that keeps what it opened",
        """
        class Client:
            def __init__(self):
                self._open = None

            def get(self, x):
                if self._open is None:
                    self._open = str(x)
                return self._open

        CLIENT = Client()

        def fit(x):
            return CLIENT.get(x)
    """,
        IDLE,
        keeps="fit",
    ),
    row(
        "a global random generator",
        """
        import random

        RNG = random.Random(0)

        def fit(x):
            return RNG.random()
    """,
        IDLE,
        keeps="fit",
        uncached="a random generator",
        note="source text counts",
    ),
    row(
        "a random generator of the stage's own",
        """
        import random

        def fit(x):
            return random.Random(0).random()
    """,
        IDLE,
        keeps="fit",
    ),
    row(
        "a global iterator",
        """
        import itertools

        NUMBERS = itertools.count()

        def fit(x):
            return next(NUMBERS)
    """,
        IDLE,
        keeps="fit",
        uncached="while",
        note="source text counts",
    ),
    row(
        "a decorator that fills a registry while modules are loaded",
        """
        HOOKS = []

        def hook(function):
            HOOKS.append(function)
            return function

        @hook
        def helper(x):
            return x

        def fit(x):
            return helper(x)
    """,
        IDLE,
        keeps="fit",
    ),
    row(
        "a list of the function's own",
        """
        SEEN = []

        def fit(x):
            SEEN = []
            SEEN.append(x)
            return SEEN
    """,
        IDLE,
        keeps="fit",
    ),
    row(
        "a lock",
        """
        import threading

        LOCK = threading.Lock()

        def fit(x):
            with LOCK:
                return x
    """,
        IDLE,
        keeps="fit",
    ),
    row(
        "a list that is appended to by a name for its method",
        """
        SEEN = []
        see = SEEN.append

        def fit(x):
            see(x)
            return len(SEEN)
        """,
        IDLE,
        keeps="fit",
        uncached="`pipelines.see` is `list.append`, which changes while it is used",
    ),
    row(
        "a global object that setattr() changes",
        """
        class Options:
            depth = 1

        OPTIONS = Options()

        def fit(x):
            setattr(OPTIONS, "depth", OPTIONS.depth + x)
            return OPTIONS.depth
        """,
        IDLE,
        keeps="fit",
        uncached="changes `OPTIONS` while it runs",
    ),
    row(
        "a global that is bound by way of globals()",
        """
        def fit(x):
            globals()["COUNT"] = globals().get("COUNT", 0) + 1
            return COUNT
        """,
        IDLE,
        keeps="fit",
        uncached="changes `globals()` while it runs",
        note="all of `pipelines` counts",
    ),
    row(
        "a library that a function imports for its module",
        """
        def fit(x):
            global json
            import json
            return json.dumps(x)
        """,
        IDLE,
        keeps="fit",
    ),
    row(
        "a list in a dictionary that grows",
        """
        from collections import defaultdict

        SEEN = defaultdict(list)

        def fit(x):
            SEEN[x].append(x)
            return len(SEEN[x])
        """,
        IDLE,
        keeps="fit",
        uncached="changes `SEEN` while it runs",
    ),
    row(
        "a list that is shuffled",
        """
        import random

        NAMES = ["a", "b"]

        def fit(x):
            random.shuffle(NAMES)
            return NAMES
        """,
        IDLE,
        keeps="fit",
        uncached="changes `NAMES` while it runs",
    ),
    row(
        "a global array that is written to",
        """
        import numpy as np

        WEIGHTS = np.zeros(3)

        def fit(x):
            WEIGHTS[0] += x
            return WEIGHTS
        """,
        IDLE,
        keeps="fit",
        uncached="changes `WEIGHTS` while it runs",
        needs="numpy",
    ),
    row(
        "a default argument that is appended to",
        """
        def fit(x, seen=[]):
            seen.append(x)
            return len(seen)
        """,
        IDLE,
        keeps="fit",
        uncached="changes `seen`, a default argument, while it runs",
    ),
    row(
        "a default argument that grows by +=",
        """
        def fit(x, seen=[]):
            seen += [x]
            return len(seen)
        """,
        IDLE,
        keeps="fit",
        uncached="changes `seen`, a default argument, while it runs",
    ),
    row(
        "a default dictionary that is filled as a memo",
        """
        def fit(x, known={}):
            known[x] = 1
            return known[x]
        """,
        IDLE,
        keeps="fit",
    ),
    row(
        "a default number that is added to",
        """
        def fit(x, n=1):
            n += x
            return n
        """,
        IDLE,
        keeps="fit",
    ),
    row(
        "a list that all instances of a class share",
        """
        class Model:
            seen = []

            def apply(self, x):
                self.seen.append(x)
                return len(self.seen)

        def fit(x):
            return Model().apply(x)
        """,
        IDLE,
        keeps="fit",
        uncached="changes `self.seen` while it runs",
    ),
    row(
        "a list that each instance of a class has for itself",
        """
        class Model:
            seen = []

            def __init__(self):
                self.seen = []

            def apply(self, x):
                self.seen.append(x)
                return len(self.seen)

        def fit(x):
            return Model().apply(x)
        """,
        IDLE,
        keeps="fit",
    ),
    row(
        "a count that a class method keeps in its class",
        """
        class Model:
            made = 0

            @classmethod
            def make(cls):
                cls.made += 1
                return cls.made

        def fit(x):
            return Model.make()
        """,
        IDLE,
        keeps="fit",
        uncached="changes `cls.made` while it runs",
    ),
    row(
        "subclasses that are listed while classes are made",
        """
        class Base:
            kinds = []

            def __init_subclass__(cls):
                cls.kinds.append(cls.__name__)

        class One(Base):
            pass

        def fit(x):
            return Base.kinds
        """,
        IDLE,
        keeps="fit",
    ),
    # While the process lives
    row(
        "a helper is edited after it was imported",
        HELPER,
        ("x + DEPTH", "x - DEPTH"),
        live=True,
        changes="fit",
        uncached="the source of `pipelines.helper` changed since it was imported",
    ),
    row(
        "what a stage does not reach is edited after it was imported",
        HELPER,
        ("x + DEPTH", "x - DEPTH"),
        live=True,
        keeps="score",
    ),
    row(
        "a comment is added after the import", HELPER, ("DEPTH = 2", "# two\n\nDEPTH = 2"), live=True, keeps="fit score"
    ),
    row(
        "a function is moved after the import",
        HELPER,
        ("def helper(x):\n    return x + DEPTH\n\n", ""),
        ("    return idle(x)\n", "    return idle(x)\n\ndef helper(x):\n    return x + DEPTH\n"),
        live=True,
        keeps="fit score",
    ),
    row(
        "a constant is edited after the import: the value that runs counts",
        HELPER,
        ("DEPTH = 2", "DEPTH = 3"),
        live=True,
        keeps="fit score",
    ),
    row(
        "a function is removed after the import",
        HELPER,
        ("def helper(x):\n    return x + DEPTH\n\n", ""),
        live=True,
        changes="fit",
        uncached="the source of `pipelines.helper` changed since it was imported",
    ),
    row(
        "a method is edited after the import",
        CLASS,
        ("x + self.depth", "x - self.depth"),
        live=True,
        changes="fit",
        uncached="the source of `pipelines.Model` changed since it was imported",
    ),
    row(
        "another stage beside a method that is edited after the import",
        CLASS,
        ("x + self.depth", "x - self.depth"),
        live=True,
        keeps="score",
    ),
    row(
        "a file breaks after the import",
        HELPER,
        ("DEPTH = 2", "DEPTH = = 2"),
        live=True,
        changes="fit score",
        uncached="changed since it was imported",
    ),
    row(
        "a file is removed after the import",
        """
        from helpers import clean

        def fit(x):
            return clean(x)
    """,
        ("helpers.py", "def clean(x):\n    return x\n", "\n"),
        files={"helpers.py": "def clean(x):\n    return x\n"},
        live=True,
        changes="fit",
        uncached="the source of `helpers.clean` changed since it was imported",
    ),
    row(
        "a function is defined anew after the import",
        """
        def helper(x):
            return x + 1

        def fit(x):
            return helper(x)

        helper.__code__ = (lambda x: x + 2).__code__
    """,
        ("x + 2", "x + 3"),
        changes="fit",
    ),
    row(
        "a dictionary that is filled while running has another digest then",
        """
        KNOWN = {}

        def fit(x):
            KNOWN[x] = 1
            return KNOWN

        if len(__file__) < 0:
            fit(1)
    """,
        ("len(__file__) < 0", "len(__file__) > 0"),
        changes="fit",
    ),
]
