"""Artifacts that want more than to be read: known attacks on the libraries that codecs stand on, and ours on codecs.

Each would make a file, the marker, in whatever process loads it as its own codec would without a look at it.
"""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

import numpy as np
import pyarrow as pa

from headrace.codec.sink import inline
from headrace.spec.artifact import Ref, gather

FILE, FOLDER = "headrace.codec.values.File", "headrace.codec.values.Folder"
REPORT = "headrace.spec.report.Report"
RIDGE = "sklearn.linear_model._ridge.Ridge"
TABLE = "pyarrow.lib.Table"
FRAME = "pandas.DataFrame"

Node = dict[str, Any]


class Bomb:
    """What makes the marker when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def pickled(marker: Path) -> Ref:
    """The artifact of a pickle that makes the marker."""
    return inline("pickle", "builtins.object", pickle.dumps(Bomb(marker)))


# -- skops: each is the schema of a file that skops reads --------------------------------------------------------------


def node(loader: str, name: str, **more: Any) -> Node:
    module, _, inner = name.rpartition(".")
    return {"__loader__": loader, "__module__": module, "__class__": inner, **more}


def plain(value: object) -> Node:
    return node("JsonNode", "builtins.str", content=json.dumps(value), is_json=True)


def listed(*items: Node, loader: str = "ListNode", name: str = "builtins.list") -> Node:
    return node(loader, name, content=list(items))


def called(function: Node, word: str) -> Node:
    """A dictionary whose one key is made by a call of a function with a text: how an attacker calls what they have."""
    return node("DictNode", "builtins.dict", key_types=listed(function), content={word: plain(1)})


def walked(name: str, *steps: str) -> Node:
    """What is reached from a name by attributes: `skops` takes each step for a method."""
    found = node("FunctionNode", name)
    for step in steps:
        found = node("MethodNode", name, content={"func": step, "obj": found})
    return found


def ridge(**attributes: Node) -> Node:
    """An estimator that holds these."""
    types = listed(*[node("TypeNode", "builtins.str") for _ in attributes])
    return node("ObjectNode", RIDGE, content=node("DictNode", "builtins.dict", key_types=types, content=attributes))


def _remembered(system: Node, word: str) -> Node:
    """Hide a function behind the number of another node, where a list of types is expected."""
    return ridge(
        alpha=listed({**system, "__id__": 7}),
        solver=node(
            "DictNode",
            "builtins.dict",
            key_types={
                "__id__": 8,
                "__loader__": "ListNode",
                "__module__": "builtins",
                "__class__": "list",
                "content": [{"__id__": 7, **node("TypeNode", "builtins.str")}],
            },
            content={word: plain(1)},
        ),
    )


def schemas(marker: Path) -> dict[str, Node]:
    """Schemas of skops files, by what they try."""
    touch = f"touch {marker}"
    system = walked("sklearn.metrics._base.np", "_pytesttester", "os", "system")
    return {
        "a method of a global of a module of scores": called(system, touch),
        "the same inside of an estimator": ridge(alpha=called(system, touch)),
        "the same as what makes the values of a dictionary": ridge(
            alpha=node(
                "DefaultDictNode",
                "collections.defaultdict",
                content={"main": plain({}), "default_factory": called(system, touch)},
            )
        ),
        "a function behind the number of a type": _remembered(system, touch),
        "a method that says that it is of another class": called(
            node("MethodNode", "builtins.str", content={"func": "system", "obj": node("FunctionNode", "os.path")}),
            touch,
        ),
        "operator.call, by the name of another module": node(
            "OperatorFuncNode",
            "operator.call",
            attrs=listed(system, plain(touch), loader="TupleNode", name="builtins.tuple"),
        ),
        "a function of os": called(node("FunctionNode", "os.system"), touch),
        "a function of os in the form of protocol 0": {
            **called(node("FunctionNode", "numpy.log1p", content={"module_path": "os", "function": "system"}), touch),
            "protocol": 0,
        },
        "a generator of bits that is any function, in the form of protocol 0": {
            **node(
                "RandomGeneratorNode",
                "numpy.random._generator.Generator",
                content={"bit_generator": {"bit_generator": "seed"}},
            ),
            "protocol": 0,
        },
        "a generator of bits that is any function": node(
            "RandomGeneratorNode",
            "numpy.random._generator.Generator",
            content={
                "bit_generator": node(
                    "DictNode",
                    "builtins.dict",
                    key_types=listed(node("TypeNode", "builtins.str")),
                    content={"bit_generator": plain("seed")},
                ),
                "seed_seq": plain({}),
            },
        ),
        "a loss that is a function": node(
            "LossNode",
            "os.system",
            __reduce__={"args": listed(plain(touch), loader="TupleNode", name="builtins.tuple")},
            content=plain({}),
        ),
        "an object made by a call of its class": node(
            "ConstructorFromReduceNode",
            "os.system",
            content=listed(plain(touch), loader="TupleNode", name="builtins.tuple"),
        ),
        "a class of scikit-learn that is no estimator": node("ObjectNode", "sklearn.utils.parallel._FuncWrapper"),
        "a class that scikit-learn only imports": node("ObjectNode", "sklearn.base.Path"),
        "a class of scikit-learn's tests": node("ObjectNode", "sklearn.tests.test_base.MyEstimator"),
        "a module that runs when it is imported": called(node("FunctionNode", "numpy.f2py.__main__.main"), touch),
        "a memory map of any file": ridge(
            alpha=node("NdArrayNode", "numpy.memmap", type="json", content=[], shape=plain([0]))
        ),
        "a function whose first use would be a score": called(
            node("FunctionNode", "sklearn.metrics._scorer._cached_call"), touch
        ),
        "a partial of what isn't a score": node(
            "PartialNode",
            "functools.partial",
            content={
                "func": walked("sklearn.metrics._base.np", "_pytesttester"),
                "args": plain([]),
                "kwds": plain({}),
                "namespace": plain(None),
            },
        ),
        "a node of a sort that nobody knows": node("CachedNode", "builtins.str", __id__=1),
        "distributions, which execute text of theirs": node("ObjectNode", "scipy.stats._continuous_distns.norm_gen"),
    }


def skops_file(schema: Node) -> bytes:
    made = io.BytesIO()
    with ZipFile(made, "w") as archive:
        archive.writestr("schema.json", json.dumps({"protocol": 2, "_skops_version": "0.16.0"} | schema))
    return made.getvalue()


# -- Arrow, NumPy, PyTorch ---------------------------------------------------------------------------------------------


def arrow_file(marker: Path) -> bytes:
    """A table with a type that pyarrow before 14.0.1 unpickles (CVE-2023-47248)."""
    told = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Bomb(marker)),
    }
    schema = pa.schema([pa.field("a", pa.int64(), metadata=told)])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(pa.table({"a": [1, 2]}, schema=schema))
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def frame_file(marker: Path) -> bytes:
    """The same as a frame of pandas."""
    table = pa.ipc.open_file(pa.py_buffer(arrow_file(marker))).read_all()
    told = {
        b"pandas": json.dumps({"index_columns": [], "columns": [], "column_indexes": []}).encode(),
        b"headrace": b"[[],null]",
    }
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema.with_metadata(told)) as writer:
        writer.write_table(table.replace_schema_metadata(told))
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def array_file(marker: Path) -> bytes:
    """An array of objects, which NumPy unpickles where it is let."""
    made = io.BytesIO()
    np.save(made, np.array([Bomb(marker)], dtype=object), allow_pickle=True)
    return made.getvalue()


def torch_file(marker: Path) -> bytes:
    """A file of `torch.save`, which is a pickle in a zip."""
    made = io.BytesIO()
    with ZipFile(made, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(marker), protocol=2))
        archive.writestr("archive/version", "3\n")
    return made.getvalue()


def tensors(header: Node, data: bytes = b"") -> bytes:
    """A safetensors file of this header."""
    told = json.dumps(header).encode()
    return len(told).to_bytes(8, "little") + told + data


NOTE = json.dumps([["a"], {}, [], []])
BEYOND = {"a": {"dtype": "F32", "shape": [1 << 20], "data_offsets": [0, 4 << 20]}, "__metadata__": {"headrace": NOTE}}
OVERLAPPING = {
    "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
    "__metadata__": {"headrace": NOTE},
}


def attacks(marker: Path) -> dict[str, Ref]:
    """All artifacts of the corpus, by what they try; each says that it is of a codec that is safe, or holds such."""
    bomb = pickled(marker)
    raw = pickle.dumps(Bomb(marker))
    found = {f"skops: {name}": inline("skops", REPORT, skops_file(schema)) for name, schema in schemas(marker).items()}
    found |= {
        "skops: a pickle": inline("skops", RIDGE, raw),
        "arrow: a type that is a pickle": inline("arrow", TABLE, arrow_file(marker)),
        "pandas: a type that is a pickle": inline("pandas", FRAME, frame_file(marker)),
        "polars: a type that is a pickle": inline("polars", "polars.dataframe.frame.DataFrame", arrow_file(marker)),
        "arrow: a pickle": inline("arrow", TABLE, raw),
        "numpy: an array of objects": inline("numpy", "numpy.ndarray", array_file(marker)),
        "numpy: a pickle": inline("numpy", "numpy.ndarray", raw),
        "safetensors: a file of torch.save": inline("safetensors", "builtins.dict", torch_file(marker)),
        "safetensors: a pickle": inline("safetensors", "builtins.dict", raw),
        "safetensors: a header that is bigger than the file": inline(
            "safetensors", "builtins.dict", b"\xff" * 7 + b"\x7f{}"
        ),
        "safetensors: a tensor beyond the end": inline("safetensors", "builtins.dict", tensors(BEYOND, bytes(16))),
        "safetensors: tensors that overlap": inline("safetensors", "builtins.dict", tensors(OVERLAPPING, bytes(12))),
        "a pickle": bomb,
        "a pickle that says that it is a report": inline("pickle", REPORT, raw),
        "a function by its name": inline("code", "builtins.function", b'"os:system"'),
        "a partial of it": gather(
            [
                inline("code", "builtins.function", b'"os:system"'),
                gather([]),
                gather([], type="builtins.dict", names=()),
            ],
            codec="code",
            type="functools.partial",
            names=("function", "args", "keywords"),
        ),
        "a record of a class that isn't ours": gather(
            [inline("text", "builtins.str", b"x")], codec="record", type="subprocess.Popen", names=("args",)
        ),
        "a record of a module of ours that runs when it is imported": gather(
            [], codec="record", type="headrace.stages.train._torch.rank.__main__.X", names=()
        ),
        "a record of ours that is no noun": gather(
            [inline("text", "builtins.str", b"/etc/passwd")],
            codec="record",
            type="headrace.codec.values.File",
            names=("path",),
        ),
        "an enumeration of anybody's": inline("enum", "signal.Signals", b'["SIGKILL",null]'),
        "a list that holds a pickle": gather([bomb]),
        "a dictionary that holds a pickle": gather([bomb], type="builtins.dict", names=("model",)),
        "a dictionary of other keys that holds a pickle": gather(
            [gather([bomb]), gather([bomb])], codec="items", type="builtins.dict", names=("keys", "values")
        ),
        "a table whose part is a pickle": gather([bomb], codec="joined", type=TABLE),
        "a table whose part says later, and is a pickle": gather(
            [gather([bomb, inline("json", "builtins.int", b"1")], codec="later", type="headrace.codec.later.Later")],
            codec="joined",
            type=TABLE,
        ),
        "a model of LightGBM whose text is a pickle": gather(
            [bomb, bomb, bomb],
            codec="lightgbm",
            type="lightgbm.sklearn.LGBMClassifier",
            names=("model", "booster", "estimator"),
        ),
        "a report of which a part is a pickle": gather([bomb], codec="record", type=REPORT, names=("title",)),
        "a file whose name leads out of its folder": gather(
            [inline("bytes", "builtins.bytes", b"x")], codec="file", type=FILE, names=(f"../../{marker.name}",)
        ),
        "a folder whose file is absolute": gather(
            [inline("bytes", "builtins.bytes", b"x")], codec="folder", type=FOLDER, names=(str(marker),)
        ),
        "a codec that nobody knows": inline("from-the-future", "x.Y", raw),
        "json: a tag that is no type": inline("json", "builtins.dict", b'{"$":["os.system","touch x"]}'),
        "json: a tag that is a function of NumPy": inline("json", "builtins.dict", b'{"$":["numpy.load","x"]}'),
        "json: nested without end": inline("json", "builtins.list", b'{"$":' * 50_000),
        "text: bytes that are none": inline("text", "builtins.str", b"\xff\xfe\xfd"),
    }
    return found


Maker = Callable[[Path], Ref]


class Case(NamedTuple):
    """One attack by its name, to be made for a marker."""

    name: str

    def ref(self, marker: Path) -> Ref:
        return attacks(marker)[self.name]


CASES = [Case(name) for name in attacks(Path("marker"))]
