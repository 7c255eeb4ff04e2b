"""Secrets in real runs: what a stage prints, raises and logs of them is masked wherever it is kept."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.work.output.mask import Mask
from tests.projects import Project, finish, lent, wait_for

SECRET = 'p@ss/W0\'rd\\x%41 "ü"'
QUOTED = """\
import json
from urllib.parse import quote, quote_plus
import headrace as hr

@hr.stage
def quotes(secret: str) -> None:
    print(secret, repr(secret), ascii(secret), [f"'{secret}"])
    print(json.dumps({"password": secret}), json.dumps([secret], ensure_ascii=False))
    print(quote(secret), quote(secret, ""), quote_plus(secret))
    hr.log("warning", f"can't log in with {secret!r}")
    {}[secret]

@hr.pipeline
def flow() -> None:
    quotes(hr.secret("PASSWORD"))
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with lent(tmp_path) as project:
        yield project


def test_a_secret_is_masked_however_it_is_quoted(project: Project) -> None:
    project.write("flow.py", QUOTED)
    project.environment["PASSWORD"] = SECRET
    done = project.headrace("run", "flow.py:flow")
    assert done.code == 1
    assert "KeyError: '********'" in done.err, done
    printed = project.headrace("logs", "latest", "quotes").out
    assert "can't log in with" in project.headrace("show", "latest").out
    kept = b"".join(path.read_bytes() for path in project.home.rglob("*") if path.is_file())
    for part in ("W0", "rd\\", "x%41", "x%2541"):
        assert part not in done.out + done.err + printed, part
        assert part.encode() not in kept, part


SIGNED = """\
import pyarrow as pa
from sklearn.linear_model import LinearRegression
import headrace as hr
from headrace.stages import registry
from headrace.stages.train.signed import sign

@hr.stage
def rows(secret: str) -> pa.Table:
    return pa.table({"a": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 2.0, 3.0, 5.0], "by": ["x", "y"] * 2})

@hr.stage
def fit(table: pa.Table, secret: str) -> LinearRegression:
    named = table.rename_columns(["a", "y", secret])
    sign(model := LinearRegression().fit(table.select(["a"]).to_pandas(), table["y"]), named, [secret])
    return model

@hr.pipeline
def flow() -> None:
    registry.model("m", fit(rows(hr.secret("PASSWORD")), hr.secret("PASSWORD")))
"""


def test_a_secret_is_masked_in_a_signature(project: Project) -> None:
    project.write("flow.py", SIGNED)
    project.environment["PASSWORD"] = SECRET
    done = project.headrace("run", "flow.py:flow")
    assert done.code == 0, done
    card = project.headrace("card", "model:m", "--json").json
    assert [each["name"] for each in card["signature"]["takes"]] == ["********"]
    kept = b"".join(path.read_bytes() for path in project.home.rglob("*") if path.is_file())
    for part in ("W0", "rd\\", "x%41", "x%2541"):
        assert part.encode() not in kept, part


LIVING = """\
import os
import signal
import subprocess
import sys
import time
import headrace as hr

def says(secret: str) -> None:
    print("with", secret, flush=True)
    os.write(2, secret[:7].encode())
    time.sleep(0.1)
    os.write(2, secret[7:].encode() + b" by halves\\n")
    subprocess.run(["sh", "-c", 'echo "from a process: $0"', secret], check=True)

@hr.stage
def ends(secret: str) -> int:
    says(secret)
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    sys.stdout.write("the end")
    return 1

@hr.stage
def plain(n: int) -> None:
    print("no secret is given here")

@hr.stage(timeout="1s")
def deaf(secret: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    says(secret)
    while True:
        time.sleep(1)

@hr.stage
def killed(secret: str) -> None:
    says(secret)
    print("last words: " + "x" * 1000, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

@hr.stage
def waits(secret: str) -> None:
    says(secret)
    time.sleep(600)

@hr.pipeline
def good() -> None:
    plain(ends(hr.secret("PASSWORD")))

@hr.pipeline
def late() -> None:
    deaf(hr.secret("PASSWORD"))

@hr.pipeline
def dead() -> None:
    killed(hr.secret("PASSWORD"))

@hr.pipeline
def long() -> None:
    waits(hr.secret("PASSWORD"))
"""
SAID = "with ********\n******** by halves\nfrom a process: ********\n"


@pytest.fixture
def living(project: Project) -> Project:
    project.write("flow.py", LIVING)
    project.environment["PASSWORD"] = "hunter2hunter2"
    return project


def in_clear(project: Project) -> list[Path]:
    """Name the files of the project's state that hold the secret."""
    return [path for path in project.home.rglob("*") if path.is_file() and b"hunter2hunter2" in path.read_bytes()]


def printed(project: Project, task: str) -> str:
    return project.headrace("logs", "latest", task).out


def test_the_log_of_an_attempt_is_whole_and_masked_when_it_has_ended(living: Project) -> None:
    done = living.headrace("run", "flow.py:good")
    assert done.code == 0, done
    assert f"{SAID}the end" in printed(living, "ends")
    assert "no secret is given here\n" in printed(living, "plain")
    assert not in_clear(living)


@pytest.mark.parametrize(("flow", "task"), [("late", "deaf"), ("dead", "killed")])
def test_the_log_of_an_attempt_that_was_killed_is_whole_and_masked(living: Project, flow: str, task: str) -> None:
    done = living.headrace("run", f"flow.py:{flow}")
    assert done.code == 1, done
    assert SAID in printed(living, task)
    assert task == "deaf" or "x" * 1000 in printed(living, task)
    assert not in_clear(living)


def test_no_secret_stands_in_a_log_while_its_attempt_runs_and_when_all_have_been_killed(living: Project) -> None:
    driver = living.start("run", "flow.py:long")
    wait_for(lambda: SAID in "".join(path.read_text() for path in living.home.glob("store/logs/*/*")))
    assert not in_clear(living)
    driver.kill()
    finish(driver)
    living.kill_all()
    assert SAID in printed(living, "waits")
    assert not in_clear(living)


ENCODED = """\
import base64
import html
import json
import shlex
from dataclasses import dataclass
from urllib.parse import quote
import headrace as hr

@dataclass
class Login:
    user: str
    password: str

class Opaque:
    def __init__(self, secret: str) -> None:
        self.secret = secret

@hr.stage
def encodes(secret: str) -> None:
    data = secret.encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode, base64.b32encode):
        print(encode(data).decode())
    for before in (b"ann:", b"ann1:", b"ann12:"):
        print("Basic", base64.b64encode(before + data + b"\\n").decode())
    print(base64.encodebytes(data).decode(), data.hex(), data.hex().upper(), data)
    print(html.escape(secret), shlex.quote(secret), json.dumps(json.dumps(secret)), quote(secret).lower())

@hr.stage
def returns(secret: str) -> dict[str, object]:
    hr.log("login", Login("ann", secret).password)
    return {"url": f"postgresql://ann:{secret}@host/db", "list": [secret, ("a", secret)], "raw": secret.encode()}

@hr.stage
def keeps(secret: str) -> Login:
    hr.attempt().keep({"password": secret})
    return Login("ann", secret)

@hr.stage
def raises(secret: str) -> None:
    raise type(f"Login_{secret}", (Exception,), {})("it said no")

@hr.stage
def hints(secret: str) -> None:
    raise hr.HeadraceError("no", hint=f"try {secret}")

@hr.stage
def pickles(secret: str) -> Opaque:
    return Opaque(secret)

@hr.pipeline
def flow() -> None:
    for stage in (encodes, returns, keeps, raises, hints, pickles):
        stage(hr.secret("PASSWORD"))
"""
LETTERS = "hunter2_hunter2_hunter2"
NOTED = ("hunter2", "68756e74657232", "aHVudGVyM", "h1bnRlcjJ", "odW50ZXIy", "NB2W45DFOIZ")
"""The secret's first word, and what hex, Base64 at its three places, and Base32 make of it."""


def test_no_event_output_log_or_page_has_a_secret_in_whatever_form(project: Project) -> None:
    project.write(
        "flow.py",
        ENCODED.replace("hr.HeadraceError", "errors.HeadraceError").replace(
            "import headrace as hr", "import headrace as hr\nfrom headrace import errors"
        ),
    )
    project.environment["PASSWORD"] = LETTERS
    done = project.headrace("run", "flow.py:flow")
    assert done.code == 1, done
    shown = [project.headrace("show", "latest", *more).out for more in ((), ("--json",))]
    shown += [project.headrace("logs", "latest", task).out for task in ("encodes", "raises", "hints", "pickles")]
    kept = b"".join(path.read_bytes() for path in project.home.rglob("*") if path.is_file())
    for part in NOTED:
        assert part not in done.out + done.err + "".join(shown), part
        assert part.encode() not in kept, part
    assert "Login_********" in done.err
    assert "a value contained a secret of its stage; it was saved with" in done.err
    assert "contains a secret of its stage, and the secret can't be masked" in done.err
    assert project.headrace("get", "latest", "returns", "--to", "out.json").code == 0
    assert json.loads((project.root / "out.json").read_text())["url"] == "postgresql://ann:********@host/db"


def test_a_store_that_can_not_take_the_warning_of_a_masked_value_does_not_change_the_result(project: Project) -> None:
    project.write(
        "flow.py",
        """\
    import headrace as hr
    from headrace.define.ports import current
    from headrace.errors import StoreError

    def full(*_):
        raise StoreError("the store is full", hint="free some space")

    @hr.stage
    def uses(secret: str) -> dict[str, str]:
        current().log = full
        return {"secret": secret}

    @hr.pipeline
    def flow() -> None:
        uses(hr.secret("PASSWORD"))
    """,
    )
    project.environment["PASSWORD"] = LETTERS
    done = project.headrace("run", "flow.py:flow")
    assert done.code == 0, done
    assert "a value contained a secret of its stage" in project.headrace("logs", "latest", "uses").out


def test_a_task_whose_value_was_masked_warns_in_its_own_run_and_in_runs_that_reuse_it(project: Project) -> None:
    project.write(
        "flow.py",
        """\
    import headrace as hr

    @hr.stage
    def uses(secret: str) -> dict[str, str]:
        hr.attempt().keep({"secret": secret})
        return {"secret": secret}

    @hr.pipeline
    def flow() -> None:
        uses(hr.secret("PASSWORD"))
    """,
    )
    project.environment["PASSWORD"] = LETTERS
    said = "a value contained a secret of its stage; it was saved with `********` instead"
    done = project.headrace("run", "flow.py:flow")
    assert done.err.count(said) == 1, done
    assert said in project.headrace("logs", "latest", "uses").out
    for _ in range(2):
        assert f"`uses` warns: {said}" in project.headrace("show", "latest").out
        (warned,) = project.headrace("show", "latest", "--json").json["warnings"]
        assert warned["task"] == "uses"
        assert warned["text"].startswith(said)
        assert project.headrace("run", "flow.py:flow").code == 0


def test_a_stage_that_is_given_no_secret_finds_it_nowhere(project: Project) -> None:
    project.write(
        "flow.py",
        """\
    import gc
    import os
    from pathlib import Path
    import headrace as hr

    @hr.stage
    def looks() -> int:
        secret = "_".join(["hunter2"] * 3)  # other than this text has it, which is in memory too
        texts = [list(each.values()) for each in gc.get_objects() if isinstance(each, dict)]
        held = sum(secret in value for each in texts for value in each if type(value) is str)
        return held + (secret in str(os.environ)) + (secret.encode() in Path("/proc/self/environ").read_bytes())

    @hr.stage
    def given(secret: str) -> int:
        return len(secret)

    @hr.pipeline
    def flow() -> None:
        looks()
        given(hr.secret("PASSWORD"))
    """,
    )
    project.environment["PASSWORD"] = LETTERS
    done = project.headrace("run", "flow.py:flow")
    assert done.code == 0, done
    assert project.headrace("get", "latest", "looks", "--to", "out.json").code == 0
    assert json.loads((project.root / "out.json").read_text()) == 0


@given(secret=st.text(min_size=8, max_size=60), before=st.binary(max_size=8), after=st.binary(max_size=8))
def test_an_encoded_secret_is_masked_whatever_stands_around_it(secret: str, before: bytes, after: bytes) -> None:
    mask = Mask()
    mask.add(secret)
    data = before + secret.encode() + after
    for encoded in (base64.b64encode(data), base64.urlsafe_b64encode(data), data.hex().encode(), repr(data).encode()):
        assert "********" in mask.text(encoded.decode())


@dataclass
class Login:
    user: str
    words: list[str]


@pytest.mark.parametrize("secret", ["hunter2hunter2", "süße Brühe", "\udcff\udcfe of no encoding"])
def test_a_secret_is_masked_in_bytes_as_it_is_in_text(secret: str) -> None:
    mask = Mask()
    mask.add(secret)
    data = f"<{secret}>".encode(errors="surrogateescape")
    assert mask.value([data, b"<other>"]) == [b"<********>", b"<other>"]


def test_a_value_is_masked_inside_and_stays_the_same_where_there_is_nothing_to_mask() -> None:
    mask = Mask()
    plain = {"a": [1, "two", (b"three", frozenset({"four"}))], "b": Login("ann", ["x"])}
    assert mask.value(plain) is plain
    mask.add("hunter2hunter2")
    mask.add("short")
    assert mask.value(plain) is plain
    held = Login("ann", ["in hunter2hunter2 out", "short"])
    assert mask.value({"hunter2hunter2": held}) == {"********": Login("ann", ["in ******** out", "short"])}
    assert held.words[0] == "in hunter2hunter2 out"
    knot: list[object] = []
    knot.append(knot)
    assert mask.value(knot) is knot
