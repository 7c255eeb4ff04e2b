"""Requests of the Open Inference Protocol that were changed at random: read right, or refused."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from typing import Any

from headrace.serve.inference.tensors import Tensors, inquiry_in, outputs_of, written
from headrace.serve.records import Records, Strictness
from headrace.spec.signature import Column

TAKES = (
    Column(name="f", type="double"),
    Column(name="i", type="int8"),
    Column(name="u", type="uint64"),
    Column(name="b", type="bool"),
    Column(name="s", type="string"),
    Column(name="d", type="date32[day]"),
)
INPUTS: list[dict[str, Any]] = [
    {"name": "f", "shape": [3], "datatype": "FP32", "parameters": {"binary_data_size": 12}},
    {"name": "i", "shape": [3, 1], "datatype": "INT16", "parameters": {"binary_data_size": 6}},
    {"name": "u", "shape": [3], "datatype": "UINT64", "data": [0, 1, (1 << 64) - 1]},
    {"name": "b", "shape": [3], "datatype": "BOOL", "parameters": {"binary_data_size": 3}},
    {"name": "s", "shape": [3], "datatype": "BYTES", "parameters": {"binary_data_size": 16}},
    {"name": "d", "shape": [3, 1], "datatype": "BYTES", "data": [["2024-01-31"], [None], ["2024-02-29"]]},
]
DATA = struct.pack("<3f3h3?", 1.5, float("nan"), -2.0, 1, -128, 127, True, False, True) + (
    b"\0\0\0\0" + b"\2\0\0\0\xc3\xa9" + b"\2\0\0\0ab"
)
OUTPUTS = [{"name": "f", "parameters": {"binary_data": True}}, {"name": "s"}]
MATRIX = {"name": "all", "shape": [2, 3], "datatype": "FP64", "data": [[1, 2, 3], [4.5, None, -6]]}
NUMBERS = tuple(Column(name=name, type="double") for name in "xyz")


def bodies() -> list[tuple[bytes, bytes, Records]]:
    """Sound requests: the JSON, the bytes behind it, and what reads them."""
    each = {"id": "one", "inputs": INPUTS, "outputs": OUTPUTS, "parameters": {"binary_data_output": True}}
    return [
        (json.dumps(each).encode(), DATA, Records(TAKES, Strictness(), 100)),
        (json.dumps({"inputs": [MATRIX]}).encode(), b"", Records(NUMBERS, Strictness(), 100)),
    ]


def of_tensors(
    text_of: Callable[[random.Random, str], str], bytes_of: Callable[[random.Random, bytes], bytes]
) -> Callable[[random.Random], object]:
    """Return a round: a request, changed in its JSON, in the bytes behind it, or in how long it says the JSON is."""
    sound = bodies()

    def play(chance: random.Random) -> None:
        head, data, records = chance.choice(sound)
        said: int | None = len(head)
        match chance.randrange(4):
            case 0:
                head = text_of(chance, head.decode()).encode(errors="replace")
                said = len(head)
            case 1:
                head = bytes_of(chance, head)
                said = len(head)
            case 2 if data:
                data = bytes_of(chance, data)
            case _:
                said = chance.choice((None, 0, 1, len(head) - 1, len(head) + 1, len(head) + len(data), 1 << 30))
        inquiry = inquiry_in(head + data, said)
        rows = Tensors(inquiry.inputs).rows(records, None)
        assert 0 < rows.count <= records.most
        assert set(rows.columns) == {column.name for column in records.takes}
        assert {len(values) for values in rows.columns.values()} == {rows.count}
        answers = {name: values for name, values in rows.columns.items() if name in "fxyz" or None not in values}
        answers.pop("d", None)
        for told, behind in written(outputs_of(answers, records.takes, None), inquiry):
            assert told["shape"] == [rows.count]
            assert ("data" in told) == (not behind)

    return play
