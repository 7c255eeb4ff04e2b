"""The document of OpenAPI says what a server takes and gives, no more and no less."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, time
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import LogError
from headrace.models.signature import example_of
from headrace.serve.access.access import Access
from headrace.serve.access.tokens import Token, Tokens, digest_of
from headrace.serve.asking import ModelGone, ModelSlow, RowsRefused
from headrace.serve.openapi.schemas import Interface, body_schema, feedback_schema, prediction_schema
from headrace.serve.predictions.feedback import LabelsRefused, feedback_in
from headrace.serve.queue import ModelBusy
from headrace.serve.records import Records, RecordsRefused, Strictness
from headrace.serve.request import Limits
from headrace.spec.signature import Column
from tests.serve.site import BODY, PATH, Answer, Site, post, serving

COLUMNS = (
    Column(name="double", type="double"),
    Column(name="int8", type="int8"),
    Column(name="uint64", type="uint64"),
    Column(name="bool", type="bool"),
    Column(name="text", type="large_string"),
    Column(name="$ref", type="dictionary<values=string, indices=int8, ordered=0>", categories=("a", "b")),
    Column(name="date", type="date32[day]"),
    Column(name="format", type="time64[us]"),
    Column(name="decimal", type="decimal128(10, 2)"),
    Column(name="local", type="timestamp[ns]"),
    Column(name="zoned", type="timestamp[us, tz=Europe/Paris]"),
)
FEEDBACK = PATH.replace("predict", "feedback")
ID = "0a1b2c3d4e5f-1-0-00000000000000ff"
LABELS = b'{"labels": [{"id": "%s", "label": "late"}]}' % ID.encode()
STRICT = st.builds(
    Strictness,
    unknown=st.sampled_from(["refuse", "take"]),
    missing=st.sampled_from(["refuse", "take"]),
    null=st.sampled_from(["refuse", "take"]),
    unseen=st.sampled_from(["refuse", "take"]),
)
ODD = st.sampled_from([None, True, -1, 0, 1, 127, 128, 1 << 63, (1 << 64) - 1, 0.5, 1e300, "", "a", "c", [], {}, [1]])
"""Values that fit some columns, and others not. JSON Schema takes 1.0 for a whole number, which records don't."""
RECORD = st.fixed_dictionaries(
    {"double": ODD, "int8": ODD, "uint64": ODD, "bool": ODD, "text": ODD, "$ref": ODD}, optional={"other": ODD}
)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving(limits=Limits(body_bytes=1 << 16)) as site:
        yield site


def described(site: Site, **headers: str) -> Any:
    answer = site.ask(post(b"", path="/openapi.json", method="GET", content_type="", **headers))
    assert answer.status == 200
    return answer.json


def is_taken(records: Records, body: Any) -> bool:
    try:
        records.rows(json.dumps(body).encode())
    except RecordsRefused:
        return False
    return True


@given(
    STRICT,
    st.lists(RECORD, max_size=3),
    st.sets(st.sampled_from([column.name for column in COLUMNS[:6]])),
    st.sampled_from([None, "int8", "$ref", "other"]),
)
def test_a_body_fits_its_schema_if_and_only_if_it_is_taken(
    strictness: Strictness, rows: list[dict[str, Any]], left_out: set[str], key: str | None
) -> None:
    records = Records(COLUMNS[:6], strictness, most=2, key=key)
    body = {"records": [{name: value for name, value in row.items() if name not in left_out} for row in rows]}
    schema = body_schema(records)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert jsonschema.Draft202012Validator(schema).is_valid(body) == is_taken(records, body)


def test_a_made_up_record_is_taken() -> None:
    records = Records(COLUMNS, Strictness(), most=2)
    example = {**example_of(COLUMNS), "format": str(time(12)), "decimal": "1.50"}
    schema = body_schema(records)
    jsonschema.Draft202012Validator(schema).validate({"records": [example]})
    assert is_taken(records, {"records": [example]})
    columns = schema["properties"]["records"]["items"]["properties"]
    formats = {name: str(each.get("anyOf", [{}])[0].get("format")) for name, each in columns.items()}
    assert formats["zoned"] == "date-time"
    assert formats["local"] == "date-time-local"
    assert formats["format"] == "time-local"
    assert formats["date"] == "date"
    assert columns["$ref"]["examples"] == ["a", "b"]
    assert example["date"] == str(date(2024, 1, 31))


LABEL = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from([ID, f"{ID}0", 7]),
        "label": ODD | st.sampled_from(["x" * 1_001, 1 << 70]),
        "z": ODD,
    },
)


@given(
    st.fixed_dictionaries(
        {"labels": st.lists(LABEL, max_size=2)}, optional={"source": st.sampled_from(["", "a/b", "a b", "x" * 201, 1])}
    )
)
def test_labels_fit_their_schema_if_and_only_if_they_are_taken(body: dict[str, Any]) -> None:
    try:
        feedback_in(json.dumps(body).encode(), "double", at=0.0)
        is_taken = True
    except LabelsRefused:
        is_taken = False
    assert jsonschema.Draft202012Validator(feedback_schema()).is_valid(body) == is_taken


def test_a_prediction_has_the_columns_that_the_model_gives() -> None:
    gives = (Column(name="predicted", type="string"), Column(name="odds", type="list<item: double>"))
    check = jsonschema.Draft202012Validator(prediction_schema(gives)).is_valid
    assert check({"predicted": "late", "odds": [0.1]})
    assert check({"predicted": None, "odds": None})
    assert not check({"predicted": "late"})
    assert not check({"predicted": 1, "odds": None})
    assert jsonschema.Draft202012Validator(prediction_schema(())).is_valid({"anything": 1})


def test_each_path_is_in_the_document_but_those_of_the_open_inference_protocol(site: Site) -> None:
    """That has a document of its own."""
    known = {(each.path, each.methods[0]) for each in site.app.paths.known if not each.path.startswith("/v2")}
    told = {
        (path.replace("/double/", "/{endpoint}/"), method.upper())
        for path, methods in described(site)["paths"].items()
        for method in methods
        if "a%2F" not in path and "later" not in path
    }
    assert told == known


def test_a_name_stands_in_its_path_as_a_client_must_write_it(site: Site) -> None:
    (path,) = (each for each in described(site)["paths"] if "a%2F" in each and each.endswith("/predict"))
    assert site.post(path=path).status == 200


def test_the_document_is_of_openapi(site: Site) -> None:
    found = described(site)
    assert found["openapi"] == "3.1.0"
    operations = [each for methods in found["paths"].values() for each in methods.values()]
    ids = [each["operationId"] for each in operations if "operationId" in each]
    assert len(set(ids)) == len(ids)
    assert all(each["summary"].endswith(".") for each in operations)
    assert all(response["description"] for each in operations for response in each["responses"].values())


def check(site: Site, answer: Answer, path: str = PATH) -> None:
    """Check that an answer is as the document says."""
    (operation,) = described(site)["paths"][path].values()
    content = operation["responses"][str(answer.status)]["content"]
    kind = answer.headers["content-type"]
    assert kind in content
    jsonschema.Draft202012Validator(content[kind].get("schema", {})).validate(answer.json)


def test_answers_and_errors_are_as_the_document_says(site: Site) -> None:
    check(site, site.post())
    for wrong in (b"", b'{"records": [{"x": "1"}, {"z": 1}]}', b'{"records": []}', b"[]"):
        check(site, site.post(wrong))
    check(site, site.post(LABELS, path=FEEDBACK), FEEDBACK)
    check(site, site.post(path=FEEDBACK), FEEDBACK)
    check(site, site.post(bytes(1 << 17)))
    check(site, site.post(content_type="text/plain"))
    check(site, site.post(content_encoding="gzip"))
    check(site, site.post(host="evil.example"))
    check(site, site.post(x="x" * 100_000))
    site.endpoints.ready = False
    check(site, site.ask(post(b"", path="/ready", method="GET")), "/ready")
    site.endpoints.ready = True
    check(site, site.ask(post(b"", path="/ready", method="GET")), "/ready")
    check(site, site.ask(post(b"", path="/health", method="GET")), "/health")
    later = PATH.replace("double", "later")
    check(site, site.post(path=later), later)
    for error in (ModelBusy, RowsRefused, ModelSlow, ModelGone, LogError, ValueError):
        site.double.error = error("why")
        check(site, site.post())
    site.double.error = None


def test_a_server_with_tokens_says_so_and_tells_of_the_endpoints_that_a_token_is_for() -> None:
    tokens = Tokens()
    tokens.know([Token("a", digest_of("b"), frozenset({"double"}), None)])
    with serving(access=lambda _: Access.by_token(tokens)) as site:
        assert site.ask(post(b"", path="/openapi.json", method="GET")).error == (401, "TokenRefused")
        token = {"authorization": "Bearer headrace_a_b"}
        found = described(site, **token)
        assert [path for path in found["paths"] if path.startswith("/v1/")] == [PATH, FEEDBACK]
        assert found["paths"][PATH]["post"]["security"] == [{"token": []}]
        assert found["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
        responses = found["paths"][PATH]["post"]["responses"]
        refused = site.post()
        jsonschema.validate(refused.json, responses["401"]["content"]["application/json"]["schema"])
        own = {"host": "models.example", "origin": "https://models.example"}
        assert site.post(BODY, **own, **token).status == 200
        assert site.post(BODY, **own).status == 401
        for origin in ("https://evil.example", "null", "https://models.example.evil.example", ""):
            assert site.post(BODY, **{**own, "origin": origin or " "}, **token).status == 403


def test_an_endpoint_shows_the_signature_that_it_has_now(site: Site) -> None:
    before = site.double.interface_
    site.double.interface_ = Interface("double:4", Records(COLUMNS, Strictness(), most=2), COLUMNS, {})
    operation = described(site)["paths"][PATH]["post"]
    site.double.interface_ = before
    assert operation["x-version"] == "double:4"
    items = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]["records"]
    assert list(items["items"]["properties"]) == [column.name for column in COLUMNS]
    assert items["maxItems"] == 2
