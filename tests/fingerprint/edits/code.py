"""Decorators, classes, closures, partials, wrappers: code that is not a plain function of its module."""

# ruff: noqa: E501  the source in a row reads best as it is

from __future__ import annotations

from tests.fingerprint.edits.row import row

DECORATED = """
    import functools

    LIMIT = 3

    def timed(function):
        @functools.wraps(function)
        def wrapper(*args):
            return round(function(*args), LIMIT)
        return wrapper

    def named(name):
        def decorate(function):
            @functools.wraps(function)
            def wrapper(*args):
                return name, function(*args)
            return wrapper
        return decorate

    @timed
    def helper(x):
        return x + 1

    @named("a")
    def other(x):
        return x + 2

    def fit(x):
        return helper(x)

    def score(x):
        return other(x)
"""

CLASSES = """
    DEPTH = 2

    def base_helper(x):
        return x

    class Base:
        factor = 1

        def apply(self, x):
            return base_helper(x) * self.factor

    class Middle(Base):
        def extra(self, x):
            return x

    class Model(Middle):
        rate = DEPTH / 2

        def __init__(self, depth=3):
            self.depth = depth

        @property
        def size(self):
            return self.depth * 2

        @staticmethod
        def halve(x):
            return x / 2

        @classmethod
        def make(cls):
            return cls(depth=4)

    class Unused:
        factor = 2

    def fit(x):
        return Model().apply(x)

    def score(x):
        return Base().apply(x)

    def check(x):
        return x
"""

CLOSURES = """
    def scaler(factor):
        def scale(x):
            return x * factor
        return scale

    double = scaler(2)
    triple = scaler(3)

    def fit(x):
        return double(x)

    def score(x):
        return triple(x)
"""

ROWS = [
    # Decorators
    row("editing the wrapped function", DECORATED, ("x + 1", "x + 3"), changes="fit", keeps="score"),
    row(
        "editing the wrapper",
        DECORATED,
        ("round(function(*args), LIMIT)", "round(function(*args), LIMIT + 1)"),
        changes="fit",
        keeps="score",
    ),
    row("a constant that the wrapper reads", DECORATED, ("LIMIT = 3", "LIMIT = 4"), changes="fit", keeps="score"),
    row("the argument of a decorator", DECORATED, ('@named("a")', '@named("b")'), changes="score", keeps="fit"),
    row("removing a decorator", DECORATED, ("@timed\n", ""), changes="fit", keeps="score"),
    row(
        "adding a decorator",
        DECORATED,
        ("@timed\ndef helper", '@timed\n@named("a")\ndef helper'),
        changes="fit",
        keeps="score",
    ),
    row(
        "the order of decorators",
        DECORATED.replace("@timed\n    def helper", '@timed\n    @named("a")\n    def helper'),
        ('@timed\n@named("a")\ndef helper', '@named("a")\n@timed\ndef helper'),
        changes="fit",
        keeps="score",
    ),
    row(
        "a decorator of the stage itself, under Headrace's",
        """
        import functools
        import headrace as hr

        def timed(function):
            @functools.wraps(function)
            def wrapper(x: int) -> int:
                return function(x) + 1
            return wrapper

        @hr.stage(retries=1)
        @timed
        def fit(x: int) -> int:
            return x
    """,
        ("function(x) + 1", "function(x) + 2"),
        changes="fit",
    ),
    row(
        "the stage itself, under a decorator",
        """
        import functools
        import headrace as hr

        def timed(function):
            @functools.wraps(function)
            def wrapper(*args):
                return function(*args) + 1
            return wrapper

        @hr.stage(retries=1)
        @timed
        def fit(x: int) -> int:
            return x
    """,
        ("return x\n", "return -x\n"),
        changes="fit",
    ),
    row(
        "the signature of a stage under a decorator",
        """
        import functools
        import headrace as hr

        def timed(function):
            @functools.wraps(function)
            def wrapper(*args):
                return function(*args) + 1
            return wrapper

        @hr.stage(retries=1)
        @timed
        def fit(x: int) -> int:
            return x
    """,
        ("x: int", "x: float"),
        changes="fit",
    ),
    row(
        "a decorator that registers and gives the function back",
        """
        HOOKS = {}

        def hook(name):
            def register(function):
                HOOKS[name] = function
                return function
            return register

        @hook("clean")
        def clean(x):
            return x + 1

        def fit(x):
            return HOOKS["clean"](x)

        def score(x):
            return x
    """,
        ("x + 1", "x + 2"),
        changes="fit",
        keeps="score",
    ),
    row(
        "a function is registered by a decorator",
        """
        HOOKS = []

        def hook(function):
            HOOKS.append(function)
            return function

        @hook
        def clean(x):
            return x + 1

        def fit(x):
            return [each(x) for each in HOOKS]

        def score(x):
            return clean(x)
    """,
        ("def fit", "@hook\ndef added(x):\n    return x\n\ndef fit"),
        changes="fit score",
    ),
    row(
        "a decorator that is a class",
        """
        class Memo:
            def __init__(self, function):
                self.function = function

            def __call__(self, x):
                return self.function(x) * 2

        @Memo
        def helper(x):
            return x + 1

        def fit(x):
            return helper(x)
    """,
        ("x + 1", "x + 2"),
        changes="fit",
    ),
    row(
        "the code of a decorator that is a class",
        """
        class Memo:
            def __init__(self, function):
                self.function = function

            def __call__(self, x):
                return self.function(x) * 2

        @Memo
        def helper(x):
            return x + 1

        def fit(x):
            return helper(x)
    """,
        ("self.function(x) * 2", "self.function(x) * 3"),
        changes="fit",
    ),
    row(
        "a function under lru_cache",
        """
        from functools import lru_cache

        @lru_cache(maxsize=10)
        def helper(x):
            return x + 1

        def fit(x):
            return helper(x)
    """,
        ("x + 1", "x + 2"),
        changes="fit",
    ),
    row(
        "the size of an lru_cache",
        """
        from functools import lru_cache

        @lru_cache(maxsize=10)
        def helper(x):
            return x + 1

        def fit(x):
            return helper(x)
    """,
        ("maxsize=10", "maxsize=20"),
        changes="fit",
    ),
    row(
        "a function under cache that calls another",
        """
        from functools import cache

        def inner(x):
            return x + 1

        @cache
        def helper(x):
            return inner(x)

        def fit(x):
            return helper(x)
    """,
        ("x + 1", "x + 2"),
        changes="fit",
    ),
    row(
        "a function that singledispatch chooses",
        """
        from functools import singledispatch

        @singledispatch
        def helper(x):
            return x

        @helper.register
        def _(x: int):
            return x + 1

        @helper.register(str)
        def text(x):
            return x + "!"

        def fit(x):
            return helper(x)

        def score(x):
            return x
    """,
        ("x + 1", "x + 2"),
        changes="fit",
        keeps="score",
    ),
    row(
        "a function that singledispatch chooses for a named type",
        """
        from functools import singledispatch

        @singledispatch
        def helper(x):
            return x

        @helper.register(str)
        def text(x):
            return x + "!"

        def fit(x):
            return helper(x)
    """,
        ('x + "!"', 'x + "?"'),
        changes="fit",
    ),
    row(
        "registering one more function with singledispatch",
        """
        from functools import singledispatch

        @singledispatch
        def helper(x):
            return x

        def fit(x):
            return helper(x)
    """,
        ("def fit", "@helper.register(str)\ndef text(x):\n    return x + '!'\n\ndef fit"),
        changes="fit",
    ),
    row(
        "the fallback of singledispatch",
        """
        from functools import singledispatch

        @singledispatch
        def helper(x):
            return x

        def fit(x):
            return helper(x)
    """,
        ("return x\n\n", "return -x\n\n"),
        changes="fit",
    ),
    row(
        "a context manager made by a decorator",
        """
        from contextlib import contextmanager

        @contextmanager
        def opened(x):
            yield x + 1

        def fit(x):
            with opened(x) as y:
                return y
    """,
        ("yield x + 1", "yield x + 2"),
        changes="fit",
    ),
    row(
        "a wrapper that does not say what it wraps",
        """
        def twice(function):
            def inner(x):
                return function(function(x))
            return inner

        @twice
        def helper(x):
            return x + 1

        def fit(x):
            return helper(x)
    """,
        ("x + 1", "x + 2"),
        changes="fit",
    ),
    row(
        "a decorator in another module",
        """
        from tools import traced

        @traced
        def helper(x):
            return x

        def fit(x):
            return helper(x)
    """,
        ("tools.py", "function(x) + 1", "function(x) + 2"),
        files={
            "tools.py": """
        import functools

        def traced(function):
            @functools.wraps(function)
            def wrapper(x):
                return function(x) + 1
            return wrapper
    """
        },
        changes="fit",
    ),
    # Classes
    row(
        "a method of a class that the stage makes",
        CLASSES,
        ("self.depth = depth", "self.depth = depth + 1"),
        changes="fit class:Model",
        keeps="score check class:Base class:Unused",
    ),
    row(
        "a method of a base class",
        CLASSES,
        ("* self.factor", "/ self.factor"),
        changes="fit score class:Model class:Middle class:Base",
        keeps="check class:Unused",
    ),
    row(
        "a helper of a base class",
        CLASSES,
        ("return x\n\nclass Base", "return -x\n\nclass Base"),
        changes="fit score class:Model class:Base",
        keeps="check class:Unused",
    ),
    row(
        "an attribute of a base class",
        CLASSES,
        ("    factor = 1", "    factor = 5"),
        changes="fit score",
        keeps="check class:Unused",
    ),
    row(
        "an attribute of a class that another constant gives",
        CLASSES,
        ("DEPTH = 2", "DEPTH = 4"),
        changes="fit class:Model",
        keeps="score check class:Base",
    ),
    row(
        "a property of a class counts with the whole of it",
        CLASSES,
        ("self.depth * 2", "self.depth * 3"),
        changes="fit",
        keeps="score check",
    ),
    row(
        "a static method of a class counts with the whole of it",
        CLASSES,
        ("x / 2", "x / 3"),
        changes="fit",
        keeps="score check",
    ),
    row(
        "a class method of a class counts with the whole of it",
        CLASSES,
        ("cls(depth=4)", "cls(depth=5)"),
        changes="fit",
        keeps="score check",
    ),
    row("a default of a method", CLASSES, ("depth=3", "depth=30"), changes="fit class:Model", keeps="score check"),
    row(
        "a class that no stage makes",
        CLASSES,
        ("    factor = 2", "    factor = 3"),
        changes="class:Unused",
        keeps="fit score check",
    ),
    row(
        "a comment in a class",
        CLASSES,
        ("    factor = 1", "    # a comment\n    factor = 1"),
        keeps="fit score check class:Base",
    ),
    row(
        "a docstring of a class",
        CLASSES,
        ("    factor = 1", "    '''What it is.'''\n    factor = 1"),
        keeps="fit score check class:Base",
    ),
    row(
        "the base of a class",
        CLASSES,
        ("class Model(Middle)", "class Model(Base)"),
        changes="fit class:Model",
        keeps="score check",
    ),
    row(
        "an annotation in a class counts",
        CLASSES,
        ("    factor = 1", "    factor: int = 1"),
        changes="fit score class:Base",
        keeps="check",
    ),
    row(
        "a method is replaced after the class was made",
        CLASSES + "\n    Base.apply = lambda self, x: x + 1\n",
        ("lambda self, x: x + 1", "lambda self, x: x + 2"),
        changes="fit score class:Base",
        keeps="check",
    ),
    row(
        "an attribute is replaced after the class was made",
        CLASSES + "\n    Base.factor = 7\n",
        ("Base.factor = 7", "Base.factor = 8"),
        changes="fit score class:Base",
        keeps="check",
    ),
    row(
        "a function is put into a class by its name",
        CLASSES + "\n    def late(self):\n        return 1\n\n    Base.late = late\n",
        ("return 1\n", "return 2\n"),
        changes="fit score class:Base",
        keeps="check",
    ),
    row(
        "moving a class within its file",
        CLASSES,
        ("class Unused:\n    factor = 2\n", ""),
        ("DEPTH = 2\n", "DEPTH = 2\n\nclass Unused:\n    factor = 2\n"),
        keeps="fit score check class:Model class:Unused",
    ),
    row(
        "a dataclass's field",
        """
        from dataclasses import dataclass, field

        @dataclass(frozen=True)
        class Row:
            x: int
            tags: list[str] = field(default_factory=list)

        def fit(x):
            return Row(x)
    """,
        ("default_factory=list", "default_factory=dict"),
        changes="fit class:Row",
    ),
    row(
        "the type of a dataclass's field",
        """
        from dataclasses import dataclass

        @dataclass
        class Row:
            x: int

        def fit(x):
            return Row(x)
    """,
        ("x: int", "x: float"),
        changes="fit class:Row",
    ),
    row(
        "the options of a dataclass",
        """
        from dataclasses import dataclass

        @dataclass
        class Row:
            x: int

        def fit(x):
            return Row(x)
    """,
        ("@dataclass\n", "@dataclass(order=True)\n"),
        changes="fit class:Row",
    ),
    row(
        "a class that a dataclass's field names",
        """
        from __future__ import annotations
        from dataclasses import dataclass

        @dataclass
        class Part:
            size: int

        @dataclass
        class Row:
            parts: list[Part]

        def fit(x):
            return Row([])
    """,
        ("size: int", "size: float"),
        changes="fit class:Row",
    ),
    row(
        "a default factory of the project's",
        """
        from dataclasses import dataclass, field

        def empty():
            return [1]

        @dataclass
        class Row:
            x: list = field(default_factory=empty)

        def fit(x):
            return Row()
    """,
        ("return [1]", "return [2]"),
        changes="fit class:Row",
    ),
    row(
        "a NamedTuple's field",
        """
        from typing import NamedTuple

        class Row(NamedTuple):
            x: int
            y: int = 0

        def fit(x):
            return Row(x)
    """,
        ("y: int = 0", "y: int = 1"),
        changes="fit class:Row",
    ),
    row(
        "a namedtuple that a call makes",
        """
        from collections import namedtuple

        Row = namedtuple("Row", "x y")

        def fit(x):
            return Row(x, x)
    """,
        ('"x y"', '"x z"'),
        changes="fit class:Row",
    ),
    row(
        "a TypedDict's field",
        """
        from typing import TypedDict

        class Row(TypedDict):
            x: int

        def fit(x):
            return Row(x=x)
    """,
        ("x: int", "x: float"),
        changes="fit",
    ),
    row(
        "an enumeration's value",
        """
        from enum import Enum

        class Color(Enum):
            RED = 1
            BLUE = 2

            def label(self):
                return self.name

        def fit(x):
            return Color(x)
    """,
        ("BLUE = 2", "BLUE = 3"),
        changes="fit class:Color",
    ),
    row(
        "an enumeration's method",
        """
        from enum import IntFlag

        class Color(IntFlag):
            RED = 1
            BLUE = 2

            def label(self):
                return self.name

        def fit(x):
            return Color(x)
    """,
        ("return self.name", "return self.value"),
        changes="fit class:Color",
    ),
    row(
        "an enumeration that a call makes",
        """
        from enum import Enum

        Color = Enum("Color", "RED BLUE")

        def fit(x):
            return Color.RED
    """,
        ('"RED BLUE"', '"RED GREEN"'),
        changes="fit class:Color",
    ),
    row(
        "a class that type() makes",
        """
        def apply(self, x):
            return x + 1

        Model = type("Model", (), {"apply": apply, "depth": 3})

        def fit(x):
            return Model().apply(x)
    """,
        ("x + 1", "x + 2"),
        changes="fit class:Model",
    ),
    row(
        "an msgspec struct's default",
        """
        import msgspec

        class Row(msgspec.Struct):
            x: int = 1

        def fit(x):
            return Row()
    """,
        ("x: int = 1", "x: int = 2"),
        changes="fit class:Row",
    ),
    row(
        "an msgspec struct as a constant",
        """
        import msgspec

        class Row(msgspec.Struct):
            x: int = 1

        ROW = Row(x=3)

        def fit(x):
            return ROW.x
    """,
        ("Row(x=3)", "Row(x=4)"),
        changes="fit",
    ),
    row(
        "an attrs class",
        """
        import attrs

        @attrs.define
        class Row:
            x: int = 1

        ROW = Row(3)

        def fit(x):
            return ROW.x
    """,
        ("Row(3)", "Row(4)"),
        changes="fit",
        needs="attrs",
    ),
    row(
        "a pydantic model's field",
        """
        from pydantic import BaseModel, Field

        class Row(BaseModel):
            x: int = Field(1, gt=0)

        ROW = Row(x=3)

        def fit(x):
            return ROW.x
    """,
        ("gt=0", "gt=1"),
        changes="fit class:Row",
        needs="pydantic",
    ),
    row(
        "a pydantic model as a constant",
        """
        from pydantic import BaseModel

        class Row(BaseModel):
            x: int = 1

        ROW = Row(x=3)

        def fit(x):
            return ROW.x
    """,
        ("Row(x=3)", "Row(x=4)"),
        changes="fit",
        needs="pydantic",
    ),
    row(
        "a generic class",
        """
        from typing import Generic, TypeVar

        T = TypeVar("T")

        class Box(Generic[T]):
            def get(self) -> T:
                return 1

        def fit(x):
            return Box[int]().get()
    """,
        ("return 1", "return 2"),
        changes="fit class:Box",
    ),
    row(
        "a generic class with type parameters",
        """
        class Box[T]:
            def get(self) -> T:
                return 1

        def fit[T](x: T) -> T:
            return Box[int]().get()
    """,
        ("return 1", "return 2"),
        changes="fit class:Box",
        python=(3, 12),
    ),
    row(
        "an abstract base class",
        """
        from abc import ABC, abstractmethod

        class Base(ABC):
            @abstractmethod
            def apply(self, x): ...

            def twice(self, x):
                return self.apply(self.apply(x))

        class Model(Base):
            def apply(self, x):
                return x + 1

        def fit(x):
            return Model().twice(x)
    """,
        ("self.apply(self.apply(x))", "self.apply(x)"),
        changes="fit class:Model",
    ),
    row(
        "a metaclass",
        """
        class Meta(type):
            def __call__(cls, *args):
                made = super().__call__(*args)
                made.depth = 1
                return made

        class Model(metaclass=Meta):
            pass

        def fit(x):
            return Model().depth
    """,
        ("made.depth = 1", "made.depth = 2"),
        changes="fit class:Model",
    ),
    row(
        "a mixin from another module",
        """
        from mixins import Mixin

        class Model(Mixin):
            pass

        def fit(x):
            return Model().apply(x)
    """,
        ("mixins.py", "x + 1", "x + 2"),
        files={"mixins.py": "class Mixin:\n    def apply(self, x):\n        return x + 1\n"},
        changes="fit class:Model",
    ),
    row(
        "subclasses that register themselves",
        """
        class Base:
            kinds = {}

            def __init_subclass__(cls):
                Base.kinds[cls.__name__] = cls

        class One(Base):
            def apply(self, x):
                return x + 1

        def fit(x):
            return Base.kinds["One"]().apply(x)
    """,
        ("x + 1", "x + 2"),
        changes="fit class:Base",
    ),
    row(
        "subclasses that a stage looks for",
        """
        class Base:
            pass

        class One(Base):
            def apply(self, x):
                return x + 1

        def fit(x):
            return [each().apply(x) for each in Base.__subclasses__()]
    """,
        ("x + 1", "x + 2"),
        changes="fit",
        note="all Python of the project counts",
    ),
    row(
        "a class that is defined under a condition",
        """
        import sys

        if sys.maxsize > 0:
            class Model:
                def apply(self, x):
                    return x + 1
        else:
            class Model:
                def apply(self, x):
                    return x + 2

        def fit(x):
            return Model().apply(x)
    """,
        ("x + 1", "x + 3"),
        changes="fit class:Model",
    ),
    row(
        "the branch of a class's condition that was not taken",
        """
        import sys

        if sys.maxsize > 0:
            class Model:
                def apply(self, x):
                    return x + 1
        else:
            class Model:
                def apply(self, x):
                    return x + 2

        def fit(x):
            return Model().apply(x)
    """,
        ("x + 2", "x + 3"),
        keeps="fit class:Model",
    ),
    row(
        "a function that is defined under a condition",
        """
        import sys

        if sys.maxsize > 0:
            def helper(x):
                return x + 1
        else:
            def helper(x):
                return x + 2

        def fit(x):
            return helper(x)
    """,
        ("x + 2", "x + 3"),
        keeps="fit",
    ),
    row(
        "a class inside of a class",
        """
        class Outer:
            class Inner:
                def apply(self, x):
                    return x + 1

        def fit(x):
            return Outer.Inner().apply(x)
    """,
        ("x + 1", "x + 2"),
        changes="fit class:Outer",
    ),
    row(
        "a class that a function makes",
        """
        def make(factor):
            class Model:
                def apply(self, x):
                    return x * factor
            return Model

        Double = make(2)

        def fit(x):
            return Double().apply(x)
    """,
        ("make(2)", "make(3)"),
        changes="fit class:Double",
    ),
    row(
        "a bound method as a constant",
        """
        class Scaler:
            def __init__(self, factor):
                self.factor = factor

            def apply(self, x):
                return x * self.factor

        apply = Scaler(2).apply

        def fit(x):
            return apply(x)
    """,
        ("Scaler(2)", "Scaler(3)"),
        changes="fit",
    ),
    row(
        "a method that is read from a class",
        """
        class Scaler:
            def apply(self, x):
                return x * 2

        def fit(x):
            return Scaler.apply(None, x)
    """,
        ("x * 2", "x * 3"),
        changes="fit",
    ),
    row(
        "a stage that a class calls",
        """
        import headrace as hr

        @hr.stage
        def clean(x: int) -> int:
            return x + 1

        class Runner:
            def run(self, x):
                return clean(x)

        def fit(x):
            return Runner().run(x)
    """,
        ("x + 1", "x + 2"),
        changes="fit clean",
    ),
    row(
        "a decorator of a function with type parameters",
        """
        def noted(function):
            function.note = 1
            return function

        @noted
        def helper[T](x: T) -> T:
            return x

        def fit(x):
            return helper(x)
        """,
        ("function.note = 1", "function.note = 1 + 0"),
        changes="fit",
        python=(3, 12),
    ),
    row(
        "a decorator that only marks a function",
        """
        MARKS = []

        def noted(function):
            MARKS.append(1)
            return function

        @noted
        def helper(x):
            return x

        def fit(x):
            return helper(x)
        """,
        ("MARKS.append(1)", "MARKS.append(2)"),
        changes="fit",
    ),
    row(
        "types as constants",
        """
        from typing import NewType, Optional, TypeVar, Union

        class Row:
            x = 1

        Rows = list[Row]
        Maybe = Optional[Row]
        Either = int | Row
        Number = NewType("Number", int)
        T = TypeVar("T", bound=Row)

        def fit(x):
            return Rows, Maybe, Either, Number, T
        """,
        ("    x = 1", "    x = 2"),
        changes="fit",
    ),
    row(
        "a property that is set after its class was made",
        """
        class Model:
            pass

        def size(self):
            return 1

        Model.size = property(size)

        def fit(x):
            return Model().size
        """,
        ("return 1", "return 2"),
        changes="fit class:Model",
    ),
    row(
        "a descriptor of the project's",
        """
        class Field:
            def __init__(self, value):
                self.value = value

            def __get__(self, instance, owner):
                return self.value + 1

        class Model:
            depth = Field(2)

        def fit(x):
            return Model().depth
        """,
        ("self.value + 1", "self.value + 2"),
        changes="fit class:Model",
    ),
    row(
        "a class under a decorator that makes one instance",
        """
        def single(cls):
            made = cls()
            return lambda: made

        @single
        class Model:
            depth = 1

        def fit(x):
            return Model().depth
        """,
        ("depth = 1", "depth = 2"),
        changes="fit",
    ),
    row(
        "an exception of the project's",
        """
        class Wrong(ValueError):
            code = 1

        def fit(x):
            try:
                return 1 / x
            except ZeroDivisionError as error:
                raise Wrong(str(error)) from error
        """,
        ("code = 1", "code = 2"),
        changes="fit class:Wrong",
    ),
    row(
        "a cached property",
        """
        from functools import cached_property

        class Model:
            @cached_property
            def size(self):
                return helper()

        def helper():
            return 1

        def fit(x):
            return Model().size
        """,
        ("return 1", "return 2"),
        changes="fit class:Model",
    ),
    row(
        "a method that singledispatch chooses",
        """
        from functools import singledispatchmethod

        class Model:
            @singledispatchmethod
            def apply(self, x):
                return x

            @apply.register
            def _(self, x: int):
                return helper(x)

        def helper(x):
            return x + 1

        def fit(x):
            return Model().apply(x)
        """,
        ("x + 1", "x + 2"),
        changes="fit class:Model",
    ),
    row(
        "a method that is a partial of another",
        """
        from functools import partialmethod

        class Model:
            def scale(self, x, factor):
                return x * factor

            double = partialmethod(scale, factor=2)

        def fit(x):
            return Model().double(x)
        """,
        ("factor=2", "factor=3"),
        changes="fit class:Model",
    ),
    row(
        "the name of a function, where it is read",
        """
        def helper(x):
            return helper.__name__

        def fit(x):
            return helper(x)
        """,
        ("return helper.__name__", "return helper.__qualname__"),
        changes="fit",
    ),
    # Closures and partials
    row("what a closure closes over", CLOSURES, ("scaler(2)", "scaler(4)"), changes="fit", keeps="score"),
    row("the code of a closure", CLOSURES, ("x * factor", "x / factor"), changes="fit score"),
    row(
        "what the function around does besides",
        CLOSURES,
        ("def scaler(factor):\n", "def scaler(factor):\n    print(factor)\n"),
        keeps="fit score",
    ),
    row(
        "two closures of one function are told apart",
        CLOSURES,
        ("return double(x)", "return triple(x)"),
        changes="fit",
        keeps="score",
    ),
    row(
        "a closure over a function",
        """
        def compose(f, g):
            return lambda x: f(g(x))

        def one(x):
            return x + 1

        def two(x):
            return x * 2

        both = compose(one, two)

        def fit(x):
            return both(x)
    """,
        ("x * 2", "x * 3"),
        changes="fit",
    ),
    row(
        "two functions in a closure are swapped",
        """
        def compose(f, g):
            return lambda x: f(g(x))

        def one(x):
            return x + 1

        def two(x):
            return x * 2

        both = compose(one, two)

        def fit(x):
            return both(x)
    """,
        ("compose(one, two)", "compose(two, one)"),
        changes="fit",
    ),
    row(
        "a closure over a list that nothing changes",
        """
        def chooser(names):
            def choose(x):
                return [x[name] for name in names]
            return choose

        choose = chooser(["a", "b"])

        def fit(x):
            return choose(x)
    """,
        ('["a", "b"]', '["a", "c"]'),
        changes="fit",
    ),
    row(
        "a closure over what nothing can read",
        """
        import threading

        def make(local):
            def get():
                return local.depth
            return get

        def local(depth):
            made = threading.local()
            made.depth = depth
            return made

        get = make(local(1))

        def fit(x):
            return get()
    """,
        ("make(local(1))", "make(local(2))"),
        changes="fit",
        note="source text counts",
    ),
    row(
        "a lambda as a constant",
        "double = lambda x: x * 2\n\ndef fit(x):\n    return double(x)\n",
        ("x * 2", "x * 3"),
        changes="fit",
    ),
    row(
        "one of two lambdas on a line",
        "one, two = (lambda x: x * 2), (lambda x: x * 3)\n\ndef fit(x):\n    return one(x)\n\ndef score(x):\n    return two(x)\n",
        ("x * 2", "x * 4"),
        changes="fit",
        keeps="score",
    ),
    row(
        "a lambda in a lambda",
        "make = lambda a: lambda x: x * a\ntwo = make(2)\n\ndef fit(x):\n    return two(x)\n",
        ("x * a", "x + a"),
        changes="fit",
    ),
    row(
        "a lambda moves along its line",
        "one = lambda x: x * 2\n\ndef fit(x):\n    return one(x)\n",
        ("one = lambda", "one   =   lambda"),
        keeps="fit",
    ),
    row(
        "the function of a partial",
        """
        from functools import partial

        def scale(x, factor):
            return x * factor

        double = partial(scale, factor=2)

        def fit(x):
            return double(x)
    """,
        ("x * factor", "x / factor"),
        changes="fit",
    ),
    row(
        "the arguments of a partial",
        """
        from functools import partial

        def scale(x, factor):
            return x * factor

        double = partial(scale, factor=2)

        def fit(x):
            return double(x)
    """,
        ("factor=2", "factor=3"),
        changes="fit",
    ),
    row(
        "a partial of a partial",
        """
        from functools import partial

        def scale(x, factor, offset):
            return x * factor + offset

        double = partial(partial(scale, factor=2), offset=1)

        def fit(x):
            return double(x)
    """,
        ("offset=1", "offset=2"),
        changes="fit",
    ),
    row(
        "a partial of a function of the standard library",
        """
        from functools import partial
        from operator import mul

        double = partial(mul, 2)

        def fit(x):
            return double(x)
    """,
        ("from operator import mul", "from operator import add as mul"),
        changes="fit",
    ),
    row(
        "an item getter",
        """
        from operator import itemgetter

        get = itemgetter("a", "b")

        def fit(x):
            return get(x)
    """,
        ('"a", "b"', '"a", "c"'),
        changes="fit",
    ),
    row(
        "a stage under a partial",
        """
        from functools import partial

        def train(x, depth):
            return x * depth

        fit = partial(train, depth=2)
    """,
        ("depth=2", "depth=3"),
        changes="fit",
    ),
    row(
        "a dictionary of functions",
        """
        def one(x):
            return x + 1

        def two(x):
            return x + 2

        KINDS = {"one": one, "two": two}

        def fit(x, kind):
            return KINDS[kind](x)

        def score(x):
            return one(x)
    """,
        ("x + 2", "x + 3"),
        changes="fit",
        keeps="score",
    ),
    row(
        "two functions in a dictionary are swapped",
        """
        def one(x):
            return x + 1

        def two(x):
            return x + 2

        KINDS = {"one": one, "two": two}

        def fit(x, kind):
            return KINDS[kind](x)
    """,
        ('"one": one, "two": two', '"one": two, "two": one'),
        changes="fit",
    ),
    row(
        "a function in a list in a dictionary",
        """
        def one(x):
            return x + 1

        KINDS = {"one": [one, lambda x: x]}

        def fit(x, kind):
            return KINDS[kind][0](x)
    """,
        ("x + 1", "x + 2"),
        changes="fit",
    ),
    row(
        "a lambda in a dictionary",
        """
        KINDS = {"one": lambda x: x + 1, "two": lambda x: x + 2}

        def fit(x, kind):
            return KINDS[kind](x)
    """,
        ("x + 2", "x + 3"),
        changes="fit",
    ),
    row(
        "a class in a dictionary",
        """
        class One:
            def apply(self, x):
                return x + 1

        KINDS = {"one": One}

        def fit(x, kind):
            return KINDS[kind]().apply(x)
    """,
        ("x + 1", "x + 2"),
        changes="fit",
    ),
    row(
        "a set of functions",
        """
        def one(x):
            return x + 1

        def two(x):
            return x + 2

        CHECKS = {one, two}

        def fit(x):
            return all(check(x) for check in CHECKS)
    """,
        ("x + 2", "x + 3"),
        changes="fit",
    ),
    row(
        "a function of the standard library in a dictionary",
        """
        import math

        KINDS = {"sin": math.sin}

        def fit(x, kind):
            return KINDS[kind](x)
    """,
        ("math.sin", "math.cos"),
        changes="fit",
    ),
    row(
        "a stage in a dictionary",
        """
        import headrace as hr

        @hr.stage
        def clean(x: int) -> int:
            return x + 1

        STEPS = {"clean": clean}

        def fit(x):
            return STEPS["clean"](x)
    """,
        ("x + 1", "x + 2"),
        changes="fit clean",
    ),
]
