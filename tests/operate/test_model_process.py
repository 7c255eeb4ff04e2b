"""A model process answers as the model does, sees nothing but the model, and outlives rows that don't fit."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from msgspec.structs import replace

from headrace.backends.processes.namespace import Namespace, works
from headrace.backends.processes.orphans import process_began
from headrace.backends.processes.spawn import MARK
from headrace.codec.codecs import Codecs
from headrace.errors import EnvironmentFailed
from headrace.models.hosting import Answer, Ask, Load, Loaded, Reply, Trouble, decode_reply
from headrace.models.signature import signature_for
from headrace.models.streams import stream_of
from headrace.operate.endpoints.model_process import (
    ModelProcess,
    _place,
    blobs_of_servers,
    gather_blobs,
    load_order,
    models_folder,
    start,
    unpacked,
)
from headrace.project import project as projects
from headrace.project.project import Project
from headrace.project.state import open_store
from headrace.run.wire import Frames, frame
from headrace.spec.artifact import Ref
from headrace.spec.bundle import Bundle, OwnCode, OwnFunctions, masked_own_code, own_code_in, own_code_ref
from headrace.spec.intent import identity_of
from tests.projects import wait_for

sklearn = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
pytestmark = pytest.mark.skipif(not works(private=True), reason="bubblewrap can't make a namespace here: install it")

RANDOM = np.random.default_rng(0)
ROWS = pa.table({"a": RANDOM.normal(size=200), "b": RANDOM.normal(size=200)})
PATIENCE_S = 120.0


class Line:
    """A model process, and the socket to it."""

    def __init__(self, process: ModelProcess) -> None:
        self.process = process
        self.pid = process.pid
        self._line = process.socket
        self._line.settimeout(PATIENCE_S)
        self._frames = Frames()

    def __call__(self, order: Load | Ask) -> Reply:
        self._line.sendall(frame(order))
        while data := self._line.recv(1 << 16):
            for body in self._frames.feed(data):
                return decode_reply(body)
        raise EOFError


def made(folder: Path, patch: pytest.MonkeyPatch) -> Project:
    (folder / "project").mkdir()
    (folder / "project" / "headrace.toml").write_text("")
    (folder / "project" / "secret.txt").write_text("secret")
    patch.chdir(folder / "project")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return projects.load()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return made(tmp_path, monkeypatch)


def saved(project: Project, model: Any, rows: pa.Table = ROWS) -> Ref:
    """Store a model with the signature of one that learned from `rows`."""
    ref = Codecs().save(model, open_store(project))
    return replace(ref, signature=signature_for(rows).encoded())


@contextmanager
def running(project: Project, *refs: Ref) -> Iterator[Line]:
    folder = project.home / "models"
    folder.mkdir(parents=True)
    gather_blobs(project, refs, folder)
    process = start(project, folder)
    try:
        yield Line(process)
    finally:
        assert process.end(PATIENCE_S)


def fitted() -> Any:
    classes = ["yes" if each > 0 else "no" for each in ROWS["a"].to_pylist()]
    return sklearn.LogisticRegression().fit(ROWS.to_pandas(), classes)


TARGETS = {
    "times": np.array(["2026-01-31", "2026-02-01"] * 100, "datetime64[ns]"),
    "bytes": np.array([b"yes", b"no"] * 100),
    "booleans": np.array([True, False] * 100),
}


@dataclass
class Hosted:
    """A process that can load models of scikit-learn: to import that costs each process two seconds."""

    project: Project
    ask: Line
    model: Any
    ref: Ref
    neighbors: dict[str, Ref]
    """Models that have learned targets of several types, by the name of the type. They have no signature."""


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    neighbors = pytest.importorskip("sklearn.neighbors")
    with pytest.MonkeyPatch.context() as patch:
        project, model = made(tmp_path_factory.mktemp("hosted"), patch), fitted()
        ref = saved(project, model)
        others = {
            name: replace(saved(project, neighbors.KNeighborsClassifier(1).fit(ROWS.to_pandas(), each)), signature=None)
            for name, each in TARGETS.items()
        }
        with running(project, ref, *others.values()) as ask:
            yield Hosted(project, ask, model, ref, others)


def test_it_answers_as_the_model_does_in_columns_and_in_arrow(hosted: Hosted) -> None:
    ask, model, ref = hosted.ask, hosted.model, hosted.ref
    loaded = ask(load_order(ref, None))
    assert isinstance(loaded, Loaded)
    assert loaded.gives == ("predicted", "predicted_no", "predicted_yes")
    answer = ask(Ask(number=7, columns={"a": [0.1, -2.0], "b": [1.0, 0.5]}))
    assert isinstance(answer, Answer)
    assert answer.number == 7
    assert answer.columns is not None
    scores = model.predict_proba(pa.table({"a": [0.1, -2.0], "b": [1.0, 0.5]}).to_pandas())
    assert answer.columns["predicted_yes"] == scores[:, 1].tolist()
    assert answer.columns["predicted"] == ["yes", "no"]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, ROWS.schema) as stream:
        stream.write_table(ROWS)
    bulk = ask(Ask(number=8, columns=None, arrow=sink.getvalue().to_pybytes()))
    assert isinstance(bulk, Answer)
    assert bulk.arrow is not None
    with pa.ipc.open_stream(bulk.arrow) as answers:
        found = answers.read_all()["predicted_yes"].to_pylist()
    assert found == model.predict_proba(ROWS.to_pandas())[:, 1].tolist()


def test_rows_that_do_not_fit_are_told_and_the_next_ones_are_answered(hosted: Hosted) -> None:
    ask, ref = hosted.ask, hosted.ref
    ask(load_order(ref, None))
    for wrong, told in (
        (Ask(number=1, columns={"a": [1.0]}), "the rows have no column `b`"),
        (Ask(number=2, columns={"a": ["x"], "b": [1.0]}), "column `a` doesn't fit `double`"),
        (Ask(number=3, columns={"a": [None], "b": [1.0]}), "NaN"),
        (Ask(number=4, columns=None, arrow=b"no stream"), "the bytes aren't an Arrow stream"),
    ):
        trouble = ask(wrong)
        assert isinstance(trouble, Trouble)
        assert trouble.number == wrong.number
        assert told in trouble.why
    assert isinstance(ask(Ask(number=5, columns={"a": [1.0], "b": [1.0]})), Answer)


def test_a_model_without_a_signature_gets_the_rows_as_they_come(hosted: Hosted) -> None:
    ask, ref = hosted.ask, replace(hosted.ref, signature=None)
    assert isinstance(ask(load_order(ref, None)), Loaded)
    answer = ask(Ask(number=1, columns={"a": [0.1, -2.0], "b": [1, 0.5]}))
    assert isinstance(answer, Answer)
    assert answer.columns is not None
    assert answer.columns["predicted"] == ["yes", "no"]
    trouble = ask(Ask(number=2, columns={"a": [1.0], "b": [{"x": 1}]}))
    assert isinstance(trouble, Trouble)
    mixed = ask(Ask(number=3, columns={"a": [1.0, "text"], "b": [1.0, 1.0]}))
    assert isinstance(mixed, Trouble)
    assert "column `a` isn't of one type" in mixed.why


def test_a_hostile_stream_is_refused_and_the_next_rows_are_answered(hosted: Hosted) -> None:
    draw, data, refused = random.Random(7), stream_of(ROWS), 0
    ask, ref = hosted.ask, hosted.ref
    ask(load_order(ref, None))
    for number in range(300):
        bad = bytearray(data)
        place = draw.randrange(len(data))
        if number % 3:
            bad[place % 600] ^= 1 << number % 8  # the schema, and the beginning of the batch
        else:
            del bad[place:]
        reply = ask(Ask(number=number, columns=None, arrow=bytes(bad)))
        refused += isinstance(reply, Trouble)
    assert refused > 100
    bomb = stream_of(pa.table({"a": pa.nulls(1 << 30), "b": pa.nulls(1 << 30)}))
    assert isinstance(ask(Ask(number=300, columns=None, arrow=bomb)), Trouble)
    assert isinstance(ask(Ask(number=301, columns=None, arrow=data)), Answer)


@pytest.mark.parametrize(
    ("row", "told"),
    [({"a": ["text"], "b": [1.0]}, "column `a` doesn't fit `double`"), ({"a": [None], "b": [1.0]}, "NaN")],
)
def test_a_made_up_row_that_the_model_can_not_take_keeps_it_from_nothing(
    row: dict[str, list[Any]], told: str, hosted: Hosted
) -> None:
    ask, ref = hosted.ask, hosted.ref
    loaded = ask(replace(load_order(ref, None), row=row))
    assert isinstance(loaded, Loaded)
    assert told in loaded.trouble
    assert loaded.gives == ()
    assert isinstance(ask(Ask(number=1, columns={"a": [1.0], "b": [1.0]})), Answer)


@pytest.mark.parametrize(
    ("targets", "answers"),
    [
        ("times", {"2026-01-31T00:00:00", "2026-02-01T00:00:00"}),
        ("bytes", {"eWVz", "bm8="}),
        ("booleans", {True, False}),
    ],
)
def test_answers_of_any_type_are_sent_as_plain_values(targets: str, answers: set[Any], hosted: Hosted) -> None:
    assert isinstance(hosted.ask(load_order(hosted.neighbors[targets], None)), Loaded)
    answer = hosted.ask(Ask(number=1, columns=ROWS.slice(0, 2).to_pydict()))
    assert isinstance(answer, Answer), answer
    assert answer.columns is not None
    assert set(answer.columns["predicted"]) == answers


def test_what_runs_code_when_it_is_loaded_is_refused(project: Project, tmp_path: Path) -> None:
    ref = saved(project, _Harm(tmp_path / "harm"))
    assert ref.codec == "pickle"
    with running(project, ref) as ask:
        trouble = ask(load_order(ref, None))
        assert isinstance(trouble, Trouble)
        assert "runs code" in trouble.why
    assert not (tmp_path / "harm").exists()


def own_code(**changes: Any) -> OwnCode:
    functions = OwnFunctions(
        prepare="features:to_features",
        predict=None,
        signature=(signature_for(ROWS).encoded() or b"").decode(),
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        roots=(".",),
        lock=None,
        platform=None,
    )
    given = Ref(digest="0" * 64, size=2, codec="json", type="builtins.dict", inline=b"{}")
    bundle = Bundle(digest="1" * 64, size=1, nonce="2" * 32)
    found = own_code_in(own_code_ref(replace(functions, **changes), bundle, given, ["code"]))
    assert found is not None
    return found


def test_code_of_another_python_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailed, match=r"`features.to_features` ran on Python 3.9, and this server runs on 3"):
        unpacked(own_code(python="3.9"), tmp_path, print)


def test_a_version_with_own_code_is_known_by_model_code_values_signature_and_environment() -> None:
    given = Ref(digest="0" * 64, size=2, codec="json", type="builtins.dict", inline=b"{}")
    model = replace(given, codec="skops")

    def identity(codes: list[str], nonce: str = "2" * 32, values: Ref = given, **changes: Any) -> str:
        bundle = Bundle(digest=nonce * 2, size=1, nonce=nonce)
        return identity_of(model, own_code_ref(replace(own_code().functions, **changes), bundle, values, codes))

    first = identity(["code"])
    assert identity(["code"], nonce="3" * 32, roots=("src",)) == first, "other files of the bundle don't matter"
    others = [
        identity(["other"]),
        identity(["code"], values=replace(given, digest="4" * 64)),
        identity(["code"], signature=(signature_for(ROWS.select(["a"])).encoded() or b"").decode()),
        identity(["code"], python="3.9"),
        identity(["code"], lock="5"),
        identity_of(model, None),
    ]
    assert len({first, *others}) == len(others) + 1


def test_secrets_are_masked_in_the_signature_of_own_code() -> None:
    own = own_code(signature=(signature_for(pa.table({"secret": [1]})).encoded() or b"").decode())
    ref = own_code_ref(own.functions, own.bundle, own.given, ["code"])
    masked = masked_own_code(ref, lambda text: text.replace("secret", "****"))
    found = own_code_in(masked)
    assert found is not None
    assert [column.name for column in found.signature.takes] == ["****"]
    assert "secret" not in repr(masked)
    assert masked_own_code(own.given, str.upper) == own.given


def test_a_process_that_is_killed_is_told_by_the_end_of_its_socket(project: Project) -> None:
    ref = saved(project, {"no": "model"})
    with running(project, ref) as ask:
        assert isinstance(ask(load_order(ref, None)), Trouble)  # it runs
        os.kill(_child(ask.pid), signal.SIGKILL)
        with pytest.raises((EOFError, ConnectionError)):
            ask(Ask(number=1, columns={"a": [1.0], "b": [1.0]}))


def test_it_sees_no_project_no_secret_and_no_network(hosted: Hosted) -> None:
    project, ask, ref = hosted.project, hosted.ask, hosted.ref
    ask(load_order(ref, None))
    inside = _child(ask.pid)
    environment = Path(f"/proc/{inside}/environ").read_bytes()
    assert b"secret" not in environment
    root = Path(f"/proc/{inside}/root")
    assert not (root / str(project.root.resolve())[1:] / "secret.txt").exists()
    assert [*(root / str(project.home.resolve())[1:] / "store").glob("*")] == []
    assert os.readlink(f"/proc/{inside}/ns/net") != os.readlink("/proc/self/ns/net")


def _child(pid: int) -> int:
    """Return the process that bubblewrap started, which is the model process itself."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid


def test_a_process_that_is_killed_as_it_starts_leaves_nothing() -> None:
    """At the moment of the kill, bubblewrap may have made a process that nobody has seen yet."""
    unseen = "(exec sleep 600 &); exec sleep 601"  # two processes, none of which is the other's child
    process = ModelProcess(["/bin/sh", "-c", unseen], {"PATH": os.defpath})
    wait_for(lambda: sorted(_group(process.pid)) == ["sleep 600", "sleep 601"], why=lambda: str(_group(process.pid)))
    process.kill()
    wait_for(lambda: not _group(process.pid), 10.0, lambda: f"still there: {_group(process.pid)}")
    assert process.end(PATIENCE_S)


def test_a_server_ends_what_a_killed_server_left_and_nothing_of_one_that_lives(project: Project) -> None:
    namespace = Namespace(private=True, network=False).command()
    namespace.remove("--die-with-parent")  # or it would depend on the moment of the kill whether a process is left
    with subprocess.Popen(["sleep", "600"]) as server:
        place, began = _place(project), process_began(server.pid)
        marks = [
            f"{place}{server.pid} 1",  # of a server that was killed: its process id is in use again
            f"{place}{server.pid} {began}",
            f"{place.replace('[', '[1')}{server.pid} 1",  # of a server in a container
            f"{project.home}-2{place.removeprefix(str(project.home))}{server.pid} 1",
        ]
        left = [_left([*namespace, "sleep", "600"], {MARK: mark}) for mark in marks]
        try:
            with models_folder(project):
                wait_for(lambda: not _is_there(left[0]), within_s=10.0)
                assert [_is_there(pid) for pid in left] == [False, True, True, True]
        finally:
            server.kill()
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def test_all_processes_of_a_server_have_its_mark(hosted: Hosted) -> None:
    project, ask, ref = hosted.project, hosted.ask, hosted.ref
    with models_folder(project):  # once it has loaded a model, none of its processes is just being started
        assert isinstance(ask(load_order(ref, None)), Loaded)
    mark = f"{MARK}={_place(project)}{os.getpid()} {process_began(os.getpid())}\0".encode()
    for pid in (ask.pid, _child(ask.pid)):
        assert mark in Path(f"/proc/{pid}/environ").read_bytes() + b"\0"


def _left(words: list[str], environment: dict[str, str]) -> int:
    """Return a process that bubblewrap has left: it was killed just after it had made the process, which then waits for
    bubblewrap forever, or goes on alone."""
    pid = os.posix_spawn(words[0], words, environment, setsid=True)
    while (child := _child(pid)) == pid:
        pass
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return child


def _group(leader: int) -> list[str]:
    """Return the commands of the processes in a process group."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getpgid(int(folder.name)) == leader and _is_there(int(folder.name)):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip())
    return found


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class _Harm:
    """An object that makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self._path,)

    def predict(self, rows: Any) -> Any:
        return rows


@pytest.mark.parametrize("at", range(1, 7))
def test_the_blobs_of_servers_are_read_while_their_models_end(project: Project, at: int) -> None:
    folder = project.home / f"models-{os.getpid()}"
    (folder / "rents-1-0" / "blobs").mkdir(parents=True)
    left = iter(range(at - 1, -1, -1))

    def ended(_: FrameType, event: str, called: object) -> None:
        if event == "c_call" and getattr(called, "__name__", "") == "scandir" and not next(left, 1):
            shutil.rmtree(folder / "rents-1-0")

    sys.setprofile(ended)
    try:
        ((pid, blobs),) = blobs_of_servers(project)
    finally:
        sys.setprofile(None)
    assert pid == os.getpid()
    assert blobs <= {"rents-1-0", "blobs"}
