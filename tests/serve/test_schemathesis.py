"""Schemathesis, which makes requests from the document of OpenAPI, finds nothing in the whole API that isn't as the
document says: https://schemathesis.readthedocs.io"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headrace.models.signature import example_of
from headrace.serve.access.access import Access
from headrace.serve.access.tokens import Token, Tokens, digest_of
from headrace.serve.openapi.schemas import Interface
from headrace.serve.records import Records, Strictness
from headrace.spec.signature import Column
from tests.serve.site import Site, post, serving
from tests.serve.test_inference import Bed

PROGRAM = Path(sys.executable).with_name("schemathesis")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PROGRAM.exists(), reason="Schemathesis is not installed: pip install schemathesis"),
]

COLUMNS = (
    Column(name="x", type="double"),
    Column(name="count", type="uint8"),
    Column(name="big", type="int64"),
    Column(name="is new", type="bool"),
    Column(name="place", type="dictionary<values=string, indices=int8, ordered=0>", categories=("Paris", "it's")),
    Column(name="day", type="date32[day]"),
    Column(name="at", type="timestamp[us, tz=UTC]"),
    Column(name="local", type="timestamp[us]"),
    Column(name="hour", type="time64[us]"),
    Column(name="price", type="decimal128(10, 2)"),
)
HOOKS = """
import schemathesis
from hypothesis import strategies as st

# Formats of the registry of OpenAPI that Schemathesis doesn't know: https://spec.openapis.org/registry/format/
schemathesis.openapi.format("date-time-local", st.datetimes().map(lambda each: each.isoformat()))
schemathesis.openapi.format("time-local", st.times().map(lambda each: each.isoformat()))
schemathesis.openapi.format("decimal", st.decimals(allow_nan=False, allow_infinity=False, places=2).map(str))


# Two rules can't be said in JSON Schema: there are as many ids as records, and a whole number has no fraction, not even
# `.0`. What breaks nothing but these is mended.
def whole(value):
    if isinstance(value, dict):
        return {name: whole(each) for name, each in value.items()}
    if isinstance(value, list):
        return [whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**63 else value


@schemathesis.hook
def before_call(context, case, **kwargs):
    body = case.body
    if isinstance(body, dict) and isinstance(body.get("records"), list):
        body = whole(body)
        ids = body.get("ids")
        if isinstance(ids, list) and all(isinstance(each, str) and each for each in ids):
            body["ids"] = [f"id-{number}" for number in range(len(body["records"]))]
        case.body = body
"""


SETTINGS = """
[checks.negative_data_rejection]
# With 413: a body with too many labels may be too large first.
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 429]
"""
TOKEN = """
[auth.openapi.token]
bearer = "headrace_a_b"
"""


@contextmanager
def rich(access: Callable[[int], Access] = Access.loopback) -> Iterator[Site]:
    """Run a server whose endpoint takes columns of many types."""
    with serving(access=access) as site:
        site.endpoints.known = ["double", "a/b é"]
        records = Records(COLUMNS, Strictness(), most=10)
        gives = [Column(name="y", type="double")]
        site.double.interface_ = Interface("double:3", records, gives, example_of(COLUMNS))
        yield site


def run(site: Site, folder: Path, *words: str, document: object = None, **headers: str) -> str:
    """Run Schemathesis on a server, and return what it says. The test fails if it finds something. The document is the
    server's own, if there is no other."""
    (folder / "hooks.py").write_text(HOOKS)
    (folder / "schemathesis.toml").write_text(SETTINGS + (TOKEN if headers else ""))
    asked = post(b"", path="/openapi.json", method="GET", content_type="", **headers)
    (folder / "openapi.json").write_bytes(json.dumps(document).encode() if document else site.ask(asked).body)
    command = ["run", "openapi.json", f"--url=http://localhost:{site.port}", "--max-examples=20", "--seed=1", *words]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(folder), "NO_COLOR": "1"}
    done = subprocess.run(
        [PROGRAM, *command], check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    return done.stdout


def test_it_finds_nothing(tmp_path: Path) -> None:
    with rich() as site:
        assert re.search(r"[1-9]\d* passed", run(site, tmp_path))
        assert len(site.double.asked) > 20


def test_it_finds_nothing_where_tokens_are_needed(tmp_path: Path) -> None:
    tokens = Tokens()
    tokens.know([Token("a", digest_of("b"), frozenset(), None)])
    with rich(lambda _: Access.by_token(tokens)) as site:
        run(site, tmp_path, authorization="Bearer headrace_a_b")
        assert len(site.double.asked) > 20


TENSOR = {
    "type": "object",
    "properties": {
        "name": {"enum": ["x", "carrier", "other"]},
        "shape": {"type": "array", "items": {"type": "integer", "maximum": 3}, "maxItems": 3},
        "datatype": {"enum": ["FP64", "INT8", "BOOL", "BYTES", "FP128"]},
        "parameters": {"type": "object"},
        "data": {},
    },
    "required": ["name", "shape", "datatype", "data"],
}
INFERENCE = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "inputs": {"type": "array", "items": TENSOR, "maxItems": 3},
        "outputs": {"type": "array", "items": {"type": "object", "properties": {"name": {"enum": ["y", "id"]}}}},
    },
    "required": ["inputs"],
}
ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"], "maxProperties": 1}


def test_it_finds_no_crash_of_the_open_inference_protocol(tmp_path: Path) -> None:
    """Which tensors fit can't be said in JSON Schema, so only the forms of answers and errors are looked at."""
    wrong = {"description": "Refused.", "content": {"application/json": {"schema": ERROR}}}
    right = {"description": "Answered.", "content": {"application/json": {"schema": {"type": "object"}}}}
    responses = {"200": right, **dict.fromkeys(["400", "404", "405", "413", "415", "422", "431"], wrong)}
    version = {"name": "version", "in": "path", "required": True, "schema": {"enum": ["1", "2", "x"]}}
    body = {"required": True, "content": {"application/json": {"schema": INFERENCE}}}
    infer = {"responses": responses, "requestBody": body}
    paths = {
        "/v2": {"get": {"responses": responses}},
        "/v2/health/live": {"get": {"responses": responses}},
        "/v2/health/ready": {"get": {"responses": responses}},
        "/v2/models/double": {"get": {"responses": responses}},
        "/v2/models/double/infer": {"post": infer},
        "/v2/models/double/versions/{version}": {"get": {"responses": responses, "parameters": [version]}},
        "/v2/models/double/versions/{version}/infer": {"post": {**infer, "parameters": [version]}},
    }
    document = {"openapi": "3.1.0", "info": {"title": "V2", "version": "2"}, "paths": paths}
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    with serving() as site:
        Bed(site)
        assert re.search(r"[1-9]\d* passed", run(site, tmp_path, f"--checks={checks}", document=document))
