"""An endpoint keeps of its predictions what its settings say, and tells clients by leaving out the ids."""

from __future__ import annotations

import asyncio
import json

import pyarrow as pa
import pytest

from headrace.errors import LogError
from headrace.models.streams import stream_of, table_in
from headrace.serve.app import Asked
from headrace.serve.metrics import LOG, MIRRORS, PREDICTIONS, TOLD, UNLOGGED, Metrics
from headrace.serve.predictions.feedback import Feedback, LabelsRefused
from headrace.serve.predictions.keeping import Keeper, Keeping, NothingKept
from headrace.serve.predictions.prediction import Answered, PredictionId
from headrace.serve.refusals import answer_to
from headrace.spec.endpoint import sole
from tests.serve import test_inference
from tests.serve.predictions import samples
from tests.serve.site import serving
from tests.serve.test_live import LABELS, Bed, records_of, run

MADE = ("delays", "production", "delays:3")


def test_an_endpoint_whose_log_is_off_answers_without_ids_and_keeps_nothing() -> None:
    async def test(bed: Bed) -> None:
        bed.rules = Keeping(None)
        bed.go(sole("delays", 3).shadowed(4))
        await bed.ready()
        answer = await bed.ask()
        assert answer.predictions == [{"y": 4.0}, {"y": 5.0}]
        assert answer.content()["ids"] is None
        stream = await bed.endpoint.predict_stream(Asked(stream_of(pa.table({"x": [1.0, 2.0]})), "", 7.0))
        assert table_in(stream.stream).to_pydict() == {"id": [None, None], "y": [4.0, 5.0]}
        counted = bed.metrics.reading()
        assert counted.numbers[PREDICTIONS.name][MADE] == 4
        assert counted.numbers[UNLOGGED.name][("delays", "off")] >= 4
        assert counted.spreads[LOG.name] == {}
        assert bed.log.kept == []

    run(test)


def test_an_endpoint_that_keeps_no_predictions_refuses_labels_and_says_why() -> None:
    async def test(bed: Bed) -> None:
        bed.rules = Keeping(None)
        bed.go(sole("delays", 3))
        await bed.ready()
        with pytest.raises(NothingKept) as refused:
            await bed.endpoint.feedback(LABELS)
        response = answer_to(refused.value)
        assert response.status == 409
        assert "logs no predictions" in json.loads(response.body)["message"]
        with pytest.raises(LabelsRefused):
            await bed.endpoint.feedback(b"{}")
        assert bed.metrics.reading().numbers[TOLD.name] == {}

    run(test)


def test_answers_leave_without_ids_while_the_log_fails_if_the_endpoint_may_do_so() -> None:
    async def test(bed: Bed) -> None:
        bed.rules = Keeping(bed.log, answers_unlogged=True)
        bed.go(sole("delays", 3))
        await bed.ready()
        bed.said.clear()
        assert (await bed.ask()).ids is not None
        bed.log.error = LogError("the disk is full")
        for _ in range(3):
            answer = await bed.ask()
            assert (answer.ids, answer.predictions) == (None, [{"y": 4.0}, {"y": 5.0}])
        assert bed.said == ["endpoint `delays` answers, but its predictions can't be logged: the disk is full"]
        with pytest.raises(LogError):
            await bed.endpoint.feedback(LABELS)
        bed.log.error = None
        assert (await bed.ask()).ids is not None
        bed.log.error = LogError("the disk is full again")
        await bed.ask()
        assert len(bed.said) == 2
        counted = bed.metrics.reading().numbers
        assert counted[UNLOGGED.name] == {("delays", "failed"): 8}
        assert counted[PREDICTIONS.name] == {MADE: 12}

    run(test)


class Hanging:
    """A log whose disk hangs."""

    async def keep(self, answered: Answered) -> PredictionId:
        del answered
        return await asyncio.get_running_loop().create_future()

    async def keep_feedback(self, feedback: Feedback) -> None:
        del feedback
        await asyncio.get_running_loop().create_future()


def test_a_log_that_hangs_is_one_that_fails() -> None:
    async def test() -> None:
        said = list[str]()
        refuses, answers = (
            Keeper("delays", Keeping(Hanging(), answers_unlogged=each), Metrics(), said.append, within_s=0.02)
            for each in (False, True)
        )
        for awaited in (refuses.keep(samples.answered()), refuses.keep_feedback(samples.feedback())):
            with pytest.raises(LogError, match=r"didn't take a request of endpoint `delays` within 0\.02 s"):
                await awaited
        assert await answers.keep(samples.answered()) is None
        assert [each.partition(":")[0] for each in said] == [
            "endpoint `delays` refuses requests, since its predictions can't be logged",
            "endpoint `delays` answers, but its predictions can't be logged",
        ]
        labels = Keeper("delays", Keeping(Hanging()), Metrics(), said.append, within_s=0.02)
        for _ in range(2):
            with pytest.raises(LogError):
                await labels.keep_feedback(samples.feedback())
        assert [each.partition(":")[0] for each in said[2:]] == [
            "endpoint `delays` refuses labels, since they can't be logged"
        ]
        assert all("within 0.02 s" in each for each in said)

    asyncio.run(asyncio.wait_for(test(), 60))


def answered(bed: Bed) -> float:
    """Return how many copies of requests a shadow has answered."""
    return bed.metrics.reading().numbers[MIRRORS.name].get(("delays", "answered"), 0)


def test_a_sample_of_the_requests_is_kept_each_with_its_copy_for_the_shadow() -> None:
    async def test(bed: Bed) -> None:
        bed.rules = Keeping(bed.log, sample=0.25)
        bed.go(sole("delays", 3).shadowed(4))
        await bed.ready()
        await bed.until(lambda: bed.models.get(4))
        ids = []
        for number in range(400):
            ids.append((await bed.ask()).ids)
            await bed.until(lambda seen=number: answered(bed) > seen)  # type: ignore[misc]
        logged = len([each for each in ids if each is not None])
        assert 57 <= logged <= 143, "a quarter, or 5 standard deviations more or less"
        assert [each.variant for each in bed.log.kept] == ["production", "shadow"] * logged
        assert len({each.salt for each in bed.log.kept}) == 2 * logged, "from an id, nobody can guess that of the copy"
        left = 2 * 400 - 2 * logged
        assert bed.metrics.reading().numbers[UNLOGGED.name] == {("delays", "sample"): 2 * left}

    run(test)


def test_a_request_that_several_variants_answer_has_ids_for_all_records_or_for_none() -> None:
    async def test(bed: Bed) -> None:
        bed.rules = Keeping(bed.log, answers_unlogged=True)
        bed.go(sole("delays", 3).about("customer", "day").sharing("canary", 4, 0.5))
        await bed.ready()
        await bed.until(lambda: bed.models.get(4))
        customers = [f"customer {number}" for number in range(20)]
        answer = await bed.endpoint.predict(Asked(records_of(*customers), "", 7.0))
        assert answer.ids is not None
        assert set(answer.variants) == {"production", "canary"}
        assert len(set(answer.ids)) == 20
        keep, failing = bed.log.keep, iter([True, False])

        async def half(answered):  # type: ignore[no-untyped-def]
            if next(failing):
                raise LogError("the disk is full")
            return await keep(answered)

        bed.log.keep = half  # type: ignore[method-assign]
        answer = await bed.endpoint.predict(Asked(records_of(*customers), "", 7.0))
        assert answer.ids is None
        assert [each["y"] for each in answer.predictions] == [
            number + int(version[-1]) for number, version in enumerate(answer.versions)
        ]

    run(test)


def test_tensors_that_are_not_kept_have_empty_ids() -> None:
    with serving() as site:
        bed = test_inference.Bed(site, Keeping(None))
        outputs = {each["name"]: each["data"] for each in bed.infer().json["outputs"]}
        assert outputs["id"] == ["", ""]
        assert outputs["predicted"] == [1.0, 2.5]
        only = {**test_inference.REQUEST, "outputs": [{"name": "id"}]}
        assert [each["data"] for each in bed.infer(only).json["outputs"]] == [["", ""]]


def test_an_answer_without_ids_is_as_the_document_says() -> None:
    with serving() as site:
        site.double.keeps = False
        assert site.post().json["ids"] is None
        document = site.ask(b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n").json
        right = document["paths"]["/v1/endpoints/double/predict"]["post"]["responses"]["200"]
        ids = right["content"]["application/json"]["schema"]["properties"]["ids"]
        assert ids["type"] == ["array", "null"]
        assert "409" in document["paths"]["/v1/endpoints/double/feedback"]["post"]["responses"]
