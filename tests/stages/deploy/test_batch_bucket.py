"""`deploy.batch` into a bucket: one object or a folder of parts, whole or not to be seen, whatever ends an attempt."""

from __future__ import annotations

import itertools
import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import headrace as hr
from headrace.define.attempt import Alone
from headrace.define.ports import running
from headrace.errors import DataError, HeadraceError, SourceError
from headrace.spec.address import StoreAddress
from headrace.spec.artifact import Ref
from headrace.stages import bucket as reached
from headrace.stages import deploy
from headrace.stages._batch import bucket as delivering
from headrace.stages._batch.bucket import to_bucket
from headrace.store.bucket.bucket import Bucket
from tests.projects import Project, wait_for
from tests.servers.ports import free_port
from tests.servers.proxy import Fault, Proxy
from tests.servers.s3 import READER_KEY, READER_SECRET, S3, SECRET, WRITER_KEY, WRITER_SECRET

TABLE = pa.table({"id": range(25), "predicted": [2.0 * each for each in range(25)]})
LIST = "headrace.json"
numbers = itertools.count()


class Target:
    """A folder of a bucket, looked at by a client of its own."""

    def __init__(self, s3: S3, bucket: str) -> None:
        self.start, self.prefix = f"s3://{bucket}", f"t{next(numbers)}/"
        self.url = f"{self.start}/{self.prefix}"
        self.endpoint = s3.endpoint
        self.bucket = Bucket(StoreAddress(url=self.start, endpoint=s3.endpoint))

    def send(self, table: pa.Table = TABLE, name: str = "", **options: Any) -> None:
        to_bucket(table, self.url + name, **{"endpoint": self.endpoint, **options})

    def put(self, name: str, data: bytes) -> None:
        self.bucket.put(self.prefix + name, data, replace=True)

    def delete(self, name: str) -> None:
        self.bucket.delete(self.prefix + name)

    def objects(self) -> dict[str, tuple[str, float]]:
        """The tag and the time of each object, by its path."""
        found = self.bucket.objects(self.prefix)
        return {each.name.removeprefix(self.prefix): (each.tag, each.modified) for each in found}

    def data(self, name: str) -> bytes:
        size = self.bucket.head(self.prefix + name)
        assert size is not None, name
        return bytes(self.bucket.range(self.prefix + name, 0, size)) if size else b""

    def table(self, name: str) -> pa.Table:
        return pq.read_table(pa.BufferReader(self.data(name)))

    def listed(self, folder: str = "") -> Any:
        return json.loads(self.data(folder + LIST))

    def delivered(self, folder: str = "") -> pa.Table:
        """What a reader sees who reads the parts that the list names."""
        listed = self.listed(folder)
        for part in listed["parts"]:
            path = folder + part["path"]
            assert (len(self.data(path)), self.table(path).num_rows) == (part["bytes"], part["rows"])
        found = pa.concat_tables([self.table(folder + part["path"]) for part in listed["parts"]])
        assert found.num_rows == listed["rows"]
        return found


@pytest.fixture(scope="module")
def shared(s3: S3) -> str:
    return s3.bucket()


@pytest.fixture
def target(s3: S3, shared: str, monkeypatch: pytest.MonkeyPatch) -> Target:
    """An empty folder in a bucket, whose credentials are in the environment. Parts have 10 rows."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(delivering, "part_rows", lambda _: 10)
    return Target(s3, shared)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A run whose task `batch_to_bucket` has attempts."""
    run = Run(monkeypatch)
    token = running.set(run)
    yield run
    running.reset(token)


class Run(Alone):
    task = "batch_to_bucket"

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._environment = monkeypatch
        self.digest = "d"
        self.begin("one")

    def begin(self, name: str, digest: str = "d") -> None:
        self.digest = digest
        self._environment.setenv("HEADRACE_RUN", name)

    def ref(self, parameter: str) -> Ref:
        return Ref(digest=self.digest, size=1, codec="arrow", type="pyarrow.lib.Table")


class Interrupted:
    """Ends an attempt as it sends an object, and counts the objects that were sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[str] = []
        self.at: int | None = None
        put_file = Bucket.put_file

        def sending(bucket: Bucket, name: str, path: Path, size: int, **options: Any) -> None:
            if self.at is not None and len(self.sent) == self.at:
                raise KeyboardInterrupt
            self.sent.append(name)
            put_file(bucket, name, path, size, **options)

        monkeypatch.setattr(Bucket, "put_file", sending)


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Interrupted:
    return Interrupted(monkeypatch)


# -- one object -------------------------------------------------------------------------------------------------------


class Twice:
    def predict(self, frame: Any) -> Any:
        return frame["id"].to_numpy() * 2.0


def test_an_object_has_all_answers_and_nothing_else_is_left(target: Target) -> None:
    where: dict[str, Any] = {
        "to": f"{target.url}new/out.parquet",
        "bucket_endpoint": target.endpoint,
        "bucket_region": "us-east-1",
    }
    assert deploy.batch(Twice(), TABLE.select(["id"]), keep="id", **where).equals(TABLE)
    assert target.table("new/out.parquet").equals(TABLE)
    assert list(target.objects()) == ["new/out.parquet"]


def test_an_object_is_replaced_by_other_answers_and_left_alone_by_the_same(target: Target, run: Run) -> None:
    target.send(name="out.parquet")
    before = target.objects()
    run.begin("two")
    target.send(name="out.parquet")
    assert target.objects() == before
    run.begin("three", "other")
    target.send(TABLE.slice(0, 3), name="out.parquet")
    assert target.table("out.parquet").equals(TABLE.slice(0, 3))


def test_an_object_that_something_else_wrote_is_not_replaced(target: Target) -> None:
    for data in (b"mine", b"", b"PAR1"):
        target.put("out.parquet", data)
        with pytest.raises(DataError, match=r"out\.parquet` is there already, and `deploy\.batch` didn't write it"):
            target.send(name="out.parquet")
        assert target.data("out.parquet") == data


def test_an_attempt_that_ends_while_it_sends_an_object_leaves_the_earlier_one(
    target: Target, run: Run, interrupted: Interrupted
) -> None:
    target.send(TABLE.slice(0, 3), name="out.parquet")
    interrupted.at = 1
    run.begin("two", "other")
    with pytest.raises(KeyboardInterrupt):
        target.send(name="out.parquet")
    assert target.table("out.parquet").equals(TABLE.slice(0, 3))
    interrupted.at = None
    target.send(name="out.parquet")
    assert target.table("out.parquet").equals(TABLE)


# -- a folder of parts ------------------------------------------------------------------------------------------------


def test_a_folder_has_the_parts_that_its_list_names(target: Target, run: Run) -> None:
    target.send()
    listed = target.listed()
    assert (listed["written_by"], listed["output"], listed["rows"]) == ("deploy.batch", "d", 25)
    assert [part["rows"] for part in listed["parts"]] == [10, 10, 5]
    assert target.delivered().equals(TABLE)
    assert sorted(target.objects()) == sorted([LIST, *(part["path"] for part in listed["parts"])])


def test_no_rows_are_one_part_with_the_columns(target: Target) -> None:
    target.send(TABLE.slice(0, 0))
    assert target.delivered().equals(TABLE.slice(0, 0))


@pytest.mark.parametrize("at", range(5))
def test_wherever_an_attempt_ends_readers_see_a_whole_delivery_and_the_next_attempt_goes_on(
    target: Target, run: Run, interrupted: Interrupted, at: int
) -> None:
    earlier = TABLE.slice(0, 12)
    target.send(earlier)
    interrupted.sent.clear()
    interrupted.at = at
    run.begin("two", "other")
    if at < 4:
        with pytest.raises(KeyboardInterrupt):
            target.send()
        assert target.delivered().equals(earlier)
    else:
        target.send()  # it ended after the list was written
    interrupted.at = None
    before = target.objects()
    target.send()
    assert target.delivered().equals(TABLE)
    folder = target.listed()["parts"][0]["path"].partition("/")[0]
    twice = {name.rpartition("/")[2] for name in interrupted.sent if interrupted.sent.count(name) > 1}
    assert twice == ({"part-00002.parquet"} if at == 3 else set())
    unchanged = [f"{folder}/part-0000{number}.parquet" for number in range(min(at, 2))]
    assert {name: target.objects()[name] for name in unchanged} == {name: before[name] for name in unchanged}


def test_the_same_answers_change_nothing_even_in_another_run(target: Target, run: Run) -> None:
    target.send()
    before = target.objects()
    run.begin("two")
    target.send()
    assert target.objects() == before


def test_a_part_that_was_cut_off_or_has_other_rows_is_sent_again(
    target: Target, run: Run, interrupted: Interrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted.at = 2
    with pytest.raises(KeyboardInterrupt):
        target.send()
    first, second = sorted(target.objects())
    target.put(first, target.data(first)[:-20])
    target.put(second, target.data(first))
    interrupted.at = None
    target.send()
    assert target.delivered().equals(TABLE)
    target.delete(LIST)
    monkeypatch.setattr(delivering, "part_rows", lambda _: 7)  # as another release might
    target.send()
    assert target.delivered().equals(TABLE)


def test_a_delivery_that_lacks_a_part_is_sent_again(target: Target, run: Run) -> None:
    target.send()
    target.delete(target.listed()["parts"][1]["path"])
    run.begin("two")
    target.send()
    assert target.delivered().equals(TABLE)


def test_a_folder_with_something_else_in_it_is_refused_and_left_as_it_is(target: Target) -> None:
    target.put("", b"")  # how consoles make a folder
    target.put("mine.csv", b"id\n1\n")
    with pytest.raises(DataError, match=r"/mine\.csv` is there already, and `deploy\.batch` didn't write it") as caught:
        target.send()
    assert "another path" in (caught.value.hint or "")
    target.delete("mine.csv")
    for list_ in (b"", b"{}", b'{"written_by": "me"}', b"\xff"):
        target.put(LIST, list_)
        with pytest.raises(DataError, match=r"/headrace\.json` is there already"):
            target.send()
        assert target.data(LIST) == list_
    target.delete(LIST)
    target.send()
    target.put("notes.txt", b"mine")
    target.send(TABLE.slice(0, 3))
    assert target.delivered().equals(TABLE.slice(0, 3))
    assert target.data("notes.txt") == b"mine"


def test_parts_of_the_delivery_before_stay_and_older_ones_are_deleted_after_a_day(
    target: Target, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def folders() -> set[str]:
        return {name.partition("/")[0] for name in target.objects()} - {LIST, "notes.txt"}

    seen = []
    for number in range(3):
        run.begin(f"{number}", f"{number}")
        target.send(TABLE.slice(0, 20 + number))
        seen.append(target.listed()["parts"][0]["path"].partition("/")[0])
    assert folders() == set(seen)
    target.put("notes.txt", b"mine")
    monkeypatch.setattr(delivering, "KEEP_S", -1.0)
    run.begin("3", "3")
    target.send()
    assert folders() == {seen[2], target.listed()["parts"][0]["path"].partition("/")[0]}
    assert target.delivered().equals(TABLE)
    assert target.data("notes.txt") == b"mine"


def test_a_delivery_succeeds_with_a_warning_if_older_parts_may_not_be_deleted(
    target: Target, s3: S3, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    delete = Bucket.delete
    target.send()
    target.send()
    monkeypatch.setattr(delivering, "KEEP_S", -1.0)
    with Proxy(s3.port) as proxy:

        def deleting(bucket: Bucket, *names: str) -> None:
            proxy.fault = Fault("answer")
            delete(bucket, *names)

        monkeypatch.setattr(Bucket, "delete", deleting)
        target.send(TABLE.slice(0, 3), endpoint=proxy.endpoint)
    assert target.delivered().equals(TABLE.slice(0, 3))
    assert f"weren't deleted: these credentials may not delete in the bucket `{target.start}`" in capfd.readouterr().err


def test_of_deliveries_at_the_same_time_readers_see_one_whole_one(target: Target) -> None:
    for name in ("parts/", "out.parquet"):
        with ThreadPoolExecutor(4) as pool:
            sent = [pool.submit(target.send, TABLE.slice(0, 22 + each), name) for each in range(4)]
        assert [each.exception() for each in sent] == [None] * 4
        found = target.delivered("parts/") if name == "parts/" else target.table(name)
        assert found.equals(TABLE.slice(0, found.num_rows))


# -- errors -----------------------------------------------------------------------------------------------------------


def refused(target: Target, name: str = "", **options: Any) -> HeadraceError:
    with pytest.raises(SourceError) as caught:
        target.send(name=name, **options)
    text = f"{caught.value.message}\n{caught.value.hint}"
    assert "store" not in text
    assert "headrace.toml" not in text
    assert SECRET not in text
    return caught.value


@pytest.mark.parametrize("name", ["", "out.parquet"])
def test_a_bucket_that_is_not_there_or_may_not_be_written_is_one_clear_error(
    target: Target, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", WRITER_KEY)  # for KEY, the server would make the bucket
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", WRITER_SECRET)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(target, "url", "s3://headrace-none/a/")
        error = refused(target, name)
    assert "there is no bucket `headrace-none` at http" in error.message
    assert error.hint == "make the bucket, or correct `to` (or `bucket_endpoint`)"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER_SECRET)
    error = refused(target, name)
    assert f"these credentials may not write the bucket `{target.start}`" in error.message
    assert "s3:PutObject" in (error.hint or "")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert "the secret key doesn't belong to the access key" in refused(target, name).message


def test_a_server_that_is_away_is_waited_for_only_for_a_time(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reached, "PATIENCE_S", 0.3)
    endpoint = f"http://127.0.0.1:{free_port()}"
    error = refused(target, endpoint=endpoint)
    assert f"can't be reached, or broke off at {endpoint}" in error.message
    assert "check `bucket_endpoint` (http or https" in (error.hint or "")


def test_a_server_that_goes_in_between_leaves_the_earlier_delivery(
    target: Target, run: Run, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.send(TABLE.slice(0, 12))
    monkeypatch.setattr(reached, "PATIENCE_S", 0.3)
    run.begin("two", "other")
    with Proxy(s3.port) as proxy:
        proxy.fault = Fault("503", methods=("PUT", "POST"))
        assert "503" in refused(target, endpoint=proxy.endpoint).message
        assert target.delivered().equals(TABLE.slice(0, 12))
        region = "<Region>eu-central-1</Region>"
        proxy.fault = Fault("answer", status=400, code="AuthorizationHeaderMalformed", detail=region)
        error = refused(target, endpoint=proxy.endpoint)
        assert f"the bucket `{target.start[5:]}` of `{target.start}` is in another region" in error.message
        assert error.hint == 'set `bucket_region` to "eu-central-1"'
        monkeypatch.setattr(reached, "PATIENCE_S", 30.0)
        proxy.fault = Fault("reset", share=0.2)
        target.send(endpoint=proxy.endpoint)
    assert target.delivered().equals(TABLE)


# -- runs -------------------------------------------------------------------------------------------------------------

PIPELINES = """
import os
import time
from pathlib import Path

import pyarrow as pa

import headrace as hr
from headrace.stages import deploy
from headrace.stages._batch import bucket


class Twice:
    def predict(self, frame):
        return frame["x"].to_numpy() * 2


@hr.stage
def make() -> Twice:
    return Twice()


@hr.stage(kind="ingest")
def rows(count: int) -> pa.Table:
    return pa.table({"id": range(count), "x": [float(each) for each in range(count)]})


@hr.stage(kind="deploy", cache=False)
def send(table: pa.Table, to: str) -> pa.Table:
    def slowly(name, value):
        while (Path(os.environ["MARKER"]) / "hold").exists() and value > 40:
            time.sleep(0.01)

    bucket.part_rows, bucket.log = lambda schema: 10, slowly
    return bucket.to_bucket.function(table, to, endpoint=os.environ["ENDPOINT"])


@hr.pipeline
def held() -> None:
    send(deploy.batch(make(), rows(120), keep="id"), os.environ["URL"])


@hr.pipeline
def deliver(to: str) -> None:
    deploy.batch(make(), rows(120), keep="id", to=to, bucket_endpoint=os.environ["ENDPOINT"])
"""
ANSWERS = [{"id": each, "predicted": 2.0 * each} for each in range(120)]


@pytest.fixture
def piped(project: Project, target: Target, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    project.write("pipelines.py", PIPELINES)
    project.environment |= {**s3.environment, "URL": target.url, "ENDPOINT": s3.endpoint, "MARKER": str(tmp_path)}
    monkeypatch.chdir(project.root)
    return project


@pytest.mark.parametrize("ends", ["killed", "interrupted"])
def test_a_run_that_ends_while_it_delivers_goes_on_and_each_row_is_there_once(
    piped: Project, target: Target, tmp_path: Path, ends: str
) -> None:
    (tmp_path / "hold").touch()
    running = piped.start("run", "held")
    wait_for(lambda: len(target.objects()) >= 5)
    if ends == "killed":
        piped.kill_all()
    else:
        running.send_signal(signal.SIGINT)
    running.communicate()
    (tmp_path / "hold").unlink()
    before = target.objects()
    assert LIST not in before
    assert len(before) == 5
    done = piped.headrace("resume", "latest", "--json")
    assert done.code == 0, done.out + done.err
    assert target.delivered().to_pylist() == ANSWERS
    after = target.objects()
    assert {name: after[name] for name in before} == before
    assert len(after) == 13


def test_each_run_delivers_but_the_same_answers_change_nothing(piped: Project, target: Target) -> None:
    one = piped.headrace("run", "deliver", "--to", f"{target.url}out.parquet", "--json")
    assert one.code == 0, one.out + one.err
    assert target.table("out.parquet").to_pylist() == ANSWERS
    piped.headrace("run", "deliver", "--to", f"{target.url}parts/")
    assert target.delivered("parts/").to_pylist() == ANSWERS
    before = target.objects()
    again = piped.headrace("run", "deliver", "--to", f"{target.url}parts/", "--json")
    assert (again.task["batch"]["state"], again.task["batch_to_bucket"]["state"]) == ("reused", "succeeded")
    assert target.objects() == before
    assert hr.load(again.json["run"], "batch_to_bucket").to_pylist() == ANSWERS
    assert SECRET not in piped.headrace("show", "latest").out
