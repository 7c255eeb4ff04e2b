"""Clients of the Open Inference Protocol ask an endpoint over real connections: tritonclient, and requests as they
stand on the wire."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from headrace.errors import LogError
from headrace.serve.access.access import Access
from headrace.serve.access.tokens import Token, Tokens, digest_of
from headrace.serve.access.tokens import written as token_text
from headrace.serve.asking import Model, ModelGone, Outcome
from headrace.serve.choice import chosen
from headrace.serve.endpoint import LiveEndpoint
from headrace.serve.predictions.feedback import Feedback
from headrace.serve.predictions.keeping import Keeping
from headrace.serve.predictions.prediction import Answered, PredictionId
from headrace.serve.records import Records, Strictness
from headrace.serve.request import Limits
from headrace.serve.running import Running
from headrace.spec.endpoint import Route, Variant
from headrace.spec.signature import Column
from tests.serve.site import Answer, Site, post, serving

TAKES = (Column(name="x", type="double"), Column(name="carrier", type="string"))
GIVES = (Column(name="predicted", type="double"), Column(name="label", type="string"))
ROUTE = Route(
    endpoint="double",
    variants=(Variant(name="production", version=1, share=1.0), Variant(name="canary", version=2, share=0.0)),
    shadow=3,
)
INFER = "/v2/models/double/infer"
REQUEST = {
    "id": "one",
    "inputs": [
        {"name": "x", "shape": [2], "datatype": "FP64", "data": [1.0, 2.5]},
        {"name": "carrier", "shape": [2, 1], "datatype": "BYTES", "data": [["AA"], ["é"]]},
    ],
}


class Multiplier:
    """A model process in name only: it multiplies numbers by its version, and repeats texts."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.is_alive = True

    async def ask(self, columns: dict[str, Sequence[Any]], count: int, within_s: float, **_: Any) -> Outcome:
        numbers = [None if each is None else self.version * each for each in columns["x"]]
        return Outcome({"predicted": numbers, "label": list(columns["carrier"])}, 0.001)


class Log:
    """Keeps answers in a list, and takes no labels."""

    def __init__(self) -> None:
        self.kept: list[Answered] = []
        self.error: LogError | None = None

    async def keep(self, answered: Answered) -> PredictionId:
        if self.error is not None:
            raise self.error
        self.kept.append(answered)
        return PredictionId("0" * 12, 1, 10 * len(self.kept), answered.salt)

    async def keep_feedback(self, feedback: Feedback) -> None:
        raise NotImplementedError


class Bed:
    """A server whose endpoint `double` multiplies, with what it has logged."""

    def __init__(self, site: Site, keeping: Keeping | None = None) -> None:
        self.site = site
        self.log = Log()
        self.models = {version: Multiplier(version) for version in (1, 2, 3)}
        self.endpoint = LiveEndpoint("double", keeping or Keeping(self.log))
        self.route(ROUTE)
        site.endpoints.double = cast("Any", self.endpoint)

    def route(self, route: Route) -> None:
        self.endpoint.go(route, {version: running(version, model) for version, model in self.models.items()})

    def given(self, variant: str) -> list[Any]:
        """The rows that a variant was asked about, as they are in the log."""
        return [row for given, _ in self.kept(variant) for row in given]

    def kept(self, variant: str) -> list[tuple[Any, Any]]:
        """What a variant was asked and has answered, as it is in the log."""
        found = [each for each in self.log.kept if each.variant == variant]
        return [(json.loads(each.given), json.loads(each.answers or b"")) for each in found]

    def get(self, path: str, **headers: str) -> Answer:
        return self.site.ask(post(b"", path=path, method="GET", **headers))

    def infer(self, content: object = REQUEST, path: str = INFER, **headers: str) -> Answer:
        return self.site.post(json.dumps(content).encode(), path=path, **headers)


def running(version: int, model: Multiplier) -> Running:
    records = Records(TAKES, Strictness(), most=1_000)
    return Running(f"double:{version}", cast("Model", model), records, cast("Any", None), gives=GIVES)


@pytest.fixture
def bed() -> Iterator[Bed]:
    with serving() as site:
        yield Bed(site)


def told(answer: Answer) -> str:
    """The text of an error, which is all that the protocol has."""
    assert set(answer.json) == {"error"}
    return str(answer.json["error"])


# -- tritonclient ------------------------------------------------------------------------------------------------------


@pytest.fixture
def triton() -> Any:
    reason = "tritonclient, the client that this is tested with, is not installed: pip install 'tritonclient[http]'"
    return pytest.importorskip("tritonclient.http", reason=reason)


def tensors(triton: Any, count: int = 2, *, binary: bool = True) -> list[Any]:
    np = pytest.importorskip("numpy")
    x = triton.InferInput("x", [count], "FP64")
    x.set_data_from_numpy(np.arange(count, dtype=np.float64), binary_data=binary)
    carrier = triton.InferInput("carrier", [count, 1], "BYTES")
    texts = np.array([[f"é{number}"] for number in range(count)], dtype=np.object_)
    carrier.set_data_from_numpy(texts, binary_data=binary)
    return [x, carrier]


def test_tritonclient_asks_as_it_does_by_default(bed: Bed, triton: Any) -> None:
    with triton.InferenceServerClient(f"localhost:{bed.site.port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("double")
        assert client.is_model_ready("double", "2")
        assert not client.is_model_ready("double", "3")
        found = client.get_server_metadata()
        assert (found["name"], found["extensions"]) == ("headrace", ["binary_tensor_data"])
        found = client.get_model_metadata("double")
        assert found["versions"] == ["1", "2"]
        assert found["inputs"] == [
            {"name": "x", "datatype": "FP64", "shape": [-1]},
            {"name": "carrier", "datatype": "BYTES", "shape": [-1]},
        ]
        assert [each["name"] for each in found["outputs"]] == ["predicted", "label", "id"]
        result = client.infer("double", tensors(triton), request_id="mine", model_version="2")
        assert result.as_numpy("predicted").tolist() == [0.0, 2.0]
        assert result.as_numpy("label").tolist() == ["é0".encode(), "é1".encode()]
        assert len(set(result.as_numpy("id").tolist())) == 2
        response = result.get_response()
        assert (response["id"], response["model_name"], response["model_version"]) == ("mine", "double", "2")
        assert response["parameters"] == {"variant": "canary"}
        assert all("binary_data_size" in each["parameters"] for each in response["outputs"])
    expected = [{"x": 0.0, "carrier": "é0"}, {"x": 1.0, "carrier": "é1"}]
    assert bed.kept("canary") == [(expected, [{"predicted": 0.0, "label": "é0"}, {"predicted": 2.0, "label": "é1"}])]


def test_tritonclient_gets_the_outputs_that_it_asks_for(bed: Bed, triton: Any) -> None:
    with triton.InferenceServerClient(f"localhost:{bed.site.port}") as client:
        wanted = [triton.InferRequestedOutput("predicted", binary_data=False), triton.InferRequestedOutput("id")]
        result = client.infer("double", tensors(triton, 3), outputs=wanted)
        assert result.as_numpy("predicted").tolist() == [0.0, 1.0, 2.0]
        assert len(result.as_numpy("id")) == 3
        assert result.as_numpy("label") is None
        for packing in ("gzip", None):
            result = client.infer("double", tensors(triton), request_compression_algorithm=packing)
            assert result.as_numpy("predicted").tolist() == [0.0, 1.0]
        result = client.infer("double", tensors(triton, binary=False), headers={"content-type": "application/json"})
        assert result.as_numpy("label").tolist() == ["é0".encode(), "é1".encode()]


def test_tritonclient_hears_what_is_wrong(bed: Bed, triton: Any) -> None:
    from tritonclient.utils import InferenceServerException

    def error(**more: Any) -> tuple[str, str]:
        with pytest.raises(InferenceServerException) as raised:
            client.infer(**{"model_name": "double", "inputs": tensors(triton)} | more)
        return raised.value.status(), raised.value.message()

    with triton.InferenceServerClient(f"localhost:{bed.site.port}") as client:
        assert error(model_version="3") == (
            "404",
            (
                "version `3` of the endpoint `double` has no share of its requests"
                " (hint: ask for `1` or `2`, or leave out the version)"
            ),
        )
        assert error(model_name="other")[0] == "404"
        assert error(inputs=tensors(triton)[:1]) == ("422", "the tensors don't fit the model: `carrier`: it is missing")
        status, message = error(inputs=tensors(triton, 1_001))
        assert (status, "`x`" in message, "1 to 1,000" in message) == ("422", True, True)
        status, message = error(inputs=tensors(triton, binary=False))
        assert (status, "application/json" in message) == ("415", True)
        bed.models[1].is_alive = False
        assert error() == ("503", "the model can't answer at the moment (hint: try again later)")
    assert bed.log.kept == []


# -- on the wire -------------------------------------------------------------------------------------------------------


def test_json_is_answered_in_json(bed: Bed) -> None:
    answer = bed.infer()
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    ids = answer.json["outputs"].pop()
    assert answer.json["outputs"] != ids
    assert {**answer.json, "outputs": answer.json["outputs"][:2]} == {
        "model_name": "double",
        "model_version": "1",
        "id": "one",
        "parameters": {"variant": "production"},
        "outputs": [
            {"name": "predicted", "datatype": "FP64", "shape": [2], "data": [1.0, 2.5]},
            {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["AA", "é"]},
        ],
    }
    [kept] = [each for each in bed.log.kept if each.variant == "production"]
    first = PredictionId("0" * 12, 1, 10, kept.salt)
    assert ids["data"] == [str(first), str(first._replace(offset=11))]
    assert (kept.count, kept.form, kept.version) == (2, "json", "double:1")


def test_the_shadow_answers_copies_and_clients_never_get_them(bed: Bed) -> None:
    assert bed.infer().status == 200
    assert bed.infer(path="/v2/models/double/versions/3/infer").status == 404
    assert bed.get("/v2/models/double/versions/3").status == 404
    assert [answers[1]["predicted"] for _, answers in bed.kept("shadow")] == [7.5]


def test_bytes_are_answered_where_they_are_asked_for(bed: Bed) -> None:
    head = json.dumps(
        {
            "inputs": [
                {"name": "x", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
                {"name": "carrier", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 11}},
            ],
            "outputs": [{"name": "label"}, {"name": "predicted", "parameters": {"binary_data": True}}],
        }
    ).encode()
    data = struct.pack("<2f", 1.0, 2.5) + b"\2\0\0\0AA\1\0\0\0U"
    for kind in ("application/octet-stream", "application/json", ""):
        more = {"content_type": kind, "inference_header_content_length": str(len(head))}
        answer = bed.site.post(head + data, path=INFER, **more)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/octet-stream")
        length = int(answer.headers["inference-header-content-length"])
        label, predicted = json.loads(answer.body[:length])["outputs"]
        assert label["data"] == ["AA", "U"]
        assert predicted["parameters"] == {"binary_data_size": 16}
        assert struct.unpack("<2d", answer.body[length:]) == (1.0, 2.5)


def test_a_key_chooses_the_version_of_each_row_as_it_does_for_records(bed: Bed) -> None:
    shared = Route(
        endpoint="double",
        variants=(Variant(name="production", version=1, share=0.5), Variant(name="canary", version=2, share=0.5)),
        key="tenant",
        time="day",
    )
    bed.route(shared)
    assert [each["name"] for each in bed.get("/v2/models/double").json["inputs"]] == ["x", "carrier", "tenant", "day"]
    count = 20
    names = [f"T-{number}" for number in range(count)]
    request = {
        "inputs": [
            {"name": "x", "shape": [count], "datatype": "INT16", "data": list(range(1, count + 1))},
            {"name": "carrier", "shape": [count], "datatype": "BYTES", "data": names},
            {"name": "tenant", "shape": [count], "datatype": "BYTES", "data": names},
            {"name": "day", "shape": [count], "datatype": "BYTES", "data": ["2026-01-31"] * count},
        ]
    }
    answer = bed.infer(request).json
    assert {"model_version", "parameters"} & set(answer) == set(), "several versions answered"
    predicted, label, ids = (each["data"] for each in answer["outputs"])
    versions = [1 if chosen(shared, name).name == "production" else 2 for name in names]
    assert set(versions) == {1, 2}
    assert predicted == [version * float(x) for x, version in enumerate(versions, 1)]
    assert label == names
    assert len(set(ids)) == count
    given = [(row["tenant"], row["day"], row["x"]) for name in ("production", "canary") for row in bed.given(name)]
    assert sorted(given) == sorted((name, "2026-01-31", float(x)) for x, name in enumerate(names, 1))
    assert bed.infer(request, "/v2/models/double/versions/2/infer").json["model_version"] == "2"
    request["inputs"][2]["data"] = [*names[:-1], ""]
    answer = bed.infer(request)
    assert (answer.status, "`tenant`, row 19: " in told(answer)) == (422, True)
    request["inputs"][2].update(datatype="INT32", data=[17] * count)
    assert bed.infer(request).json["model_version"] == str(1 if chosen(shared, "17").name == "production" else 2)
    del request["inputs"][2]
    assert "`tenant`: it is missing" in told(bed.infer(request))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_type": ""}, 415),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "text/plain", "inference_header_content_length": "2"}, 415),
        ({"content_type": "multipart/form-data"}, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
        ({"content_type": "application/octet-stream"}, 400),
        ({"inference_header_content_length": "-1"}, 400),
        ({"inference_header_content_length": "2x"}, 400),
        ({"inference_header_content_length": "2\r\ninference-header-content-length: 2"}, 400),
        ({"inference_header_content_length": "9" * 40}, 400),
        ({"inference_header_content_length": "999999999"}, 422),
        ({"inference_header_content_length": "2"}, 422),
        ({"content_encoding": "deflate"}, 415),
        ({"content_length": "99999999"}, 413),
        ({"origin": "http://evil.example"}, 403),
        ({"host": "evil.example"}, 403),
        ({"x_forwarded_for": "1.2.3.4"}, 403),
    ],
    ids=str,
)
def test_a_request_that_a_page_of_another_site_could_send_or_that_contradicts_itself_is_refused(
    bed: Bed, headers: dict[str, str], status: int
) -> None:
    answer = bed.infer(**headers)
    assert answer.status == status
    assert told(answer)
    assert bed.log.kept == []


def test_paths_and_methods_that_are_not_there_are_told(bed: Bed) -> None:
    for path in ("/v2/", "/v2/models", "/v2/models/", "/v2/models/double/", "/v2/models/double/config", "/v2/health"):
        answer = bed.get(path)
        assert answer.status == 404, path
        assert told(answer)
    assert bed.get("/v2x").status == 404
    assert bed.get("/v2/models/never").status == 404
    assert bed.get("/v2/models/later").status == 503
    for version in ("0", "01", "4", "-1", "1%00", "%C3%A9", "9" * 50, ""):
        assert bed.get(f"/v2/models/double/versions/{version}").status == 404, version
    assert bed.get(INFER).status == 405
    assert bed.infer(path="/v2/models/double").status == 405


def test_a_version_that_has_died_is_not_ready_and_no_other_answers_for_it(bed: Bed) -> None:
    bed.models[2].is_alive = False
    assert bed.get("/v2/models/double/versions/2/ready").status == 503
    assert bed.infer(path="/v2/models/double/versions/2/infer").status == 503
    assert bed.get("/v2/models/double/ready").json == {"name": "double", "ready": True}
    bed.site.endpoints.ready = False
    assert bed.get("/v2/health/ready").status == 503
    assert bed.get("/v2/health/live").json == {"live": True}


def test_answers_that_can_not_be_logged_are_not_given(bed: Bed) -> None:
    bed.log.error = LogError("`/secret` is full")
    answer = bed.infer()
    assert (answer.status, "secret" in told(answer)) == (503, False)


def test_an_output_that_is_not_there_is_refused_and_nothing_is_logged(bed: Bed) -> None:
    answer = bed.infer({**REQUEST, "outputs": [{"name": "proba"}]})
    assert (answer.status, "`proba`" in told(answer)) == (422, True)
    assert bed.kept("production") == []


def test_a_text_without_answer_is_told_and_a_number_without_answer_is_null(bed: Bed) -> None:
    request = json.loads(json.dumps(REQUEST))
    request["inputs"][0]["data"][1] = None
    assert bed.infer(request).json["outputs"][0]["data"] == [1.0, None]
    request["inputs"][1]["data"][0][0] = None
    answer = bed.infer(request)
    assert (answer.status, "row 0 has no answer `label`" in told(answer)) == (422, True)


def test_a_client_needs_a_token_for_all_that_names_an_endpoint() -> None:
    tokens = Tokens()
    tokens.know([Token("one", digest_of("s"), frozenset({"double"}), None)])
    header = {"authorization": f"Bearer {token_text('one', 's')}"}
    with serving(access=lambda port: Access.by_token(tokens), limits=Limits()) as site:
        bed = Bed(site)
        for path in ("/v2/models/double", "/v2/models/double/ready", "/v2/models/other"):
            assert bed.get(path).status == 401
        assert bed.infer().status == 401
        assert bed.get("/v2/models/other", **header).status == 403
        assert bed.get("/v2/models/double", **header).status == 200
        assert bed.infer(content_type="", **header).status == 200, "a page can't send a token unasked"
        assert bed.get("/v2").status == 401
        assert bed.get("/v2", **header).json["name"] == "headrace"
        assert bed.get("/v2/health/ready").status == 200


def test_a_model_that_is_gone_is_told_without_its_reasons(bed: Bed) -> None:
    async def gone(*_: Any, **__: Any) -> Outcome:
        raise ModelGone("process 4711 has ended")

    bed.models[1].ask = gone  # type: ignore[method-assign]
    answer = bed.infer()
    assert (answer.status, "4711" in told(answer)) == (503, False)
