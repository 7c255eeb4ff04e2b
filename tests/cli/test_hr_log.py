"""`hr.log` on a real project: restarts, threads and processes of the stage's own, workers that are killed."""

from __future__ import annotations

import pytest

from headrace.inspect.views import attempt_views
from headrace.ledger.views.tracking import TrackingViews
from tests.cli.conftest import Shell

PIPELINES = """
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import headrace as hr


@hr.stage(retries=2)
def restarts(steps: int) -> int:
    attempt = hr.attempt()
    begin = attempt.checkpoint() or 0
    for step in range(begin, steps):
        if step == 3 and attempt.number == 1:
            attempt.keep(2)
            hr.log("loss", 99.0, step)
            raise RuntimeError("it broke")
        hr.log("loss", float(attempt.number), step)
    return begin


@hr.stage
def helpers() -> int:
    thread = threading.Thread(target=lambda: hr.log("thread", 1.0))
    thread.start()
    thread.join()
    code = "import headrace as hr; hr.log('child/loss', 0.5, 7); hr.log('said', 'hello'); hr.log('rank1/wait', 1)"
    for rank in "01":
        subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ, RANK=rank))
    forked = multiprocessing.get_context("fork").Process(target=hr.log, args=("forked", 2.0))
    forked.start()
    forked.join()
    return forked.exitcode


def forked(said: multiprocessing.Queue) -> None:
    hr.log("forked", 2.0)
    said.put("done")


@hr.stage
def forks() -> list[str]:
    context = multiprocessing.get_context("fork")
    said = context.Queue()
    process = context.Process(target=forked, args=(said,))
    process.start()
    word = said.get(timeout=30.0)
    process.join()
    return [word]


@hr.stage
def races() -> int:
    sys.setswitchinterval(1e-6)
    barrier = threading.Barrier(8)

    def count() -> None:
        barrier.wait()
        for _ in range(20):
            hr.log("shared", 1.0)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 1


@hr.stage
def leaves() -> int:
    code = "import headrace as hr, sys; hr.log('mine', 1.0); sys.stdin.read(); hr.log('stray', 2.0)"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    globals()["left"] = process
    while process.poll() is None and not logged():
        time.sleep(0.02)
    return process.pid


def logged() -> bool:
    return os.path.exists(os.environ["HEADRACE_LOGGED"])


@hr.stage
def follows() -> int:
    process = globals().pop("left", None)
    if process is not None:  # the worker is the same
        process.communicate()
    return 1


@hr.stage
def after() -> int:
    return len(os.environ.get("HEADRACE_LOGGED", "")) > 0


@hr.stage(retries=1)
def killed() -> int:
    if hr.attempt().number == 1:
        hr.log("loss", 1.0, 0)
        hr.log("loss", 2.0, 5)
        time.sleep(2.0)  # the worker reports twice a second
        os.kill(os.getpid(), signal.SIGKILL)
    hr.log("loss", 3.0, 5)
    return 1


@hr.stage
def wrong() -> int:
    hr.log("loss", [1, 2])
    return 1


@hr.pipeline
def one(name: str) -> None:
    if name == "restarts":
        restarts(5)
    else:
        first = globals()[name]()
        if name == "helpers":
            after(after=[first])
        if name == "leaves":
            follows(after=[first])
"""


@pytest.fixture
def shell(empty: Shell) -> Shell:
    empty.write("headrace.toml", "[pool.local]\ncpu = 2\n")
    empty.write("pipelines.py", PIPELINES)
    return empty


def run(shell: Shell, name: str) -> dict[str, list[tuple[int, float]]]:
    done = shell("run", "one", "--name", name)
    assert done.code == 0, done.err
    with TrackingViews(f"sqlite:///{shell.folder / '.headrace' / 'ledger.db'}") as views:
        return {each.name: list(zip(each.steps, each.values, strict=True)) for each in views.series()}


def test_an_attempt_that_starts_over_replaces_what_it_repeats(shell: Shell) -> None:
    assert run(shell, "restarts") == {"loss": [(0, 1.0), (1, 1.0), (2, 2.0), (3, 2.0), (4, 2.0)]}
    assert "no differences" in shell("replay", "latest").out


def test_threads_and_processes_of_the_stage_log_too(shell: Shell) -> None:
    assert run(shell, "helpers") == {
        "child/loss": [(7, 0.5)],
        "forked": [(0, 2.0)],
        "rank1/wait": [(0, 1.0), (0, 1.0)],
        "thread": [(0, 1.0)],
    }
    with TrackingViews(f"sqlite:///{shell.folder / '.headrace' / 'ledger.db'}") as views:
        assert [text.out.inline for text in views.texts()] == [b"hello"]


def test_a_process_that_was_forked_off_before_anything_was_logged_logs_and_lives_on(shell: Shell) -> None:
    assert run(shell, "forks") == {"forked": [(0, 2.0)]}


def test_threads_that_begin_to_log_at_once_lose_nothing_and_share_the_steps(shell: Shell) -> None:
    assert sorted(run(shell, "races")["shared"]) == [(step, 1.0) for step in range(160)]


def test_new_code_replaces_what_the_old_one_has_logged(shell: Shell) -> None:
    body = "for step in range({}):\n        hr.log('loss', {}, step)\n    {}"
    code = (
        "import headrace as hr\n\n@hr.stage\ndef fit() -> int:\n    {}\n\n@hr.pipeline\ndef one() -> None:\n    fit()\n"
    )
    shell.write("pipelines.py", code.format(body.format(5, -1.0, "raise ValueError('no')")))
    assert shell("run", "one").code == 1
    shell.write("pipelines.py", code.format(body.format(2, 1.0, "return 1")))
    done = shell("resume", "latest", "--new-code")
    assert done.code == 0, done.err
    with TrackingViews(f"sqlite:///{shell.folder / '.headrace' / 'ledger.db'}") as views:
        [curve], [metric] = views.series(), views.metrics()
        assert list(zip(curve.steps, curve.values, strict=True)) == [(0, 1.0), (1, 1.0)]
        assert (metric.count, metric.least, metric.last) == (2, 1.0, 1.0)
        assert [each.attempt for each in attempt_views(views.story())] == [1, 2]
    assert "no differences" in shell("replay", "latest").out


def test_after_new_code_what_a_task_has_logged_is_that_of_the_output_which_it_has(shell: Shell) -> None:
    code = """
    import headrace as hr

    @hr.stage
    def fit(k: int) -> int:
        for step in range(k):
            hr.log("loss", float(k), step)
        hr.log("said", f"k is {k}")
        if k == 4:
            hr.log("only of four", 4)
        return k

    @hr.stage
    def last(k: int, fails: bool) -> int:
        assert not fails
        return k

    @hr.pipeline
    def one(fails: bool = False) -> None:
        last(KIND(2), fails)
    """
    shell.write("pipelines.py", code.replace("KIND", "fit"))
    assert shell("run", "one").code == 0
    shell.write("pipelines.py", code.replace("KIND(2)", "fit(3)"))
    assert shell("run", "one", "--fails", "true").code == 1

    def resumed(call: str) -> tuple[dict[str, int], list[float], list[bytes | None]]:
        """Resume the last run with new code; return its metrics, a curve and the texts."""
        shell.write("pipelines.py", code.replace("KIND(2)", call))
        assert shell("resume", "latest", "--new-code").code == 1
        assert "no differences" in shell("replay", "latest").out
        with TrackingViews(f"sqlite:///{shell.folder / '.headrace' / 'ledger.db'}") as views:
            [curve] = views.series(name="loss")
            counts = {each.name: each.count for each in views.metrics()}
            return counts, list(curve.values), [each.out.inline for each in views.texts()]

    assert resumed("fit(2)") == ({"loss": 2}, [2.0] * 2, [b"k is 2"])  # reused from the first run
    assert resumed("fit(4)") == ({"loss": 4, "only of four": 1}, [4.0] * 4, [b"k is 4"])  # ran again
    assert resumed("fit(3)") == ({"loss": 3}, [3.0] * 3, [b"k is 3"])  # this run made it before
    assert resumed("fit(2)") == ({"loss": 2}, [2.0] * 2, [b"k is 2"])
    code = code.replace("def fit", "def fitted")
    assert resumed("fitted(2)") == ({"loss": 2}, [2.0] * 2, [b"k is 2"])
    with TrackingViews(f"sqlite:///{shell.folder / '.headrace' / 'ledger.db'}") as views:
        assert {each.task for each in views.metrics(kind=None)} == {"fitted"}  # `fit` is gone


def test_a_reused_task_shows_what_its_own_maker_logged_also_after_that_one_is_forgotten(shell: Shell) -> None:
    shell.write(
        "pipelines.py",
        """
import headrace as hr

@hr.stage
def fit(depth: int) -> int:
    hr.log("loss", float(depth))
    return depth

@hr.pipeline
def alone() -> None:
    fit(4)

@hr.pipeline
def both() -> None:
    fit(6)
    fit(4)
""",
    )
    for name in ("alone", "both"):
        assert shell("run", name).code == 0
    assert shell("gc", "--keep-runs", "1").code == 0  # the result of `alone` goes to `fit[1]` of `both`
    done = shell("run", "alone")
    assert "1 reused" in done.out
    with TrackingViews(f"sqlite:///{shell.folder / '.headrace' / 'ledger.db'}") as views:
        assert [(each.task, each.last) for each in views.metrics()] == [("fit", 4.0)]


def test_what_was_deleted_with_the_run_that_logged_it_is_said_to_be(shell: Shell) -> None:
    shell.write(
        "pipelines.py",
        """
import headrace as hr

@hr.stage
def fit() -> int:
    hr.log("loss", 2.0, 0)
    hr.log("loss", 1.0, 1)
    hr.log("note", "what came of it")
    return 1

@hr.stage
def judge(found: int, scale: int) -> int:
    return found * scale

@hr.pipeline
def flow(scale: int = 1) -> None:
    judge(fit(), scale)
""",
    )
    made = shell("run", "flow", "--json").json["run"]
    assert shell("run", "flow", "--scale", "2").code == 0
    assert "--logged note` gives the whole text" in shell("show", "latest").err
    assert shell("gc", "--keep-runs", "1").code == 0
    shown = shell("show", "latest")
    assert f"deleted with run {made}" in shown.out
    assert "--logged" not in shown.err
    for name in ("loss", "note"):
        lost = shell("get", "latest", "fit", "--logged", name)
        assert lost.code == 2
        assert (
            f"`fit` was reused from run `{made}`; what it logged there as `{name}` was deleted with that run"
            in lost.err
        )


def test_a_process_that_outlives_its_attempt_is_not_taken_for_the_next_one(shell: Shell) -> None:
    assert run(shell, "leaves") == {"mine": [(0, 1.0)]}


def test_what_a_worker_had_reported_before_it_was_killed_is_kept(shell: Shell) -> None:
    assert run(shell, "killed") == {"loss": [(0, 1.0), (5, 3.0)]}


def test_what_is_no_number_is_one_clear_error(shell: Shell) -> None:
    done = shell("run", "one", "--name", "wrong")
    assert done.code == 1
    assert "`loss` can't be logged: it is a `list`, not a single number" in done.err + done.out
    assert "Traceback" not in done.out


def test_warnings_that_are_long_or_many_are_told_where_they_are(shell: Shell) -> None:
    shell.write(
        "pipelines.py",
        """
import headrace as hr

@hr.stage
def checked() -> int:
    hr.log("warning", "x" * 5000)
    for number in range(11):
        hr.log("warning", f"row {number} is odd")
    return 1

@hr.pipeline
def one() -> None:
    checked()
""",
    )
    done = shell("run", "one")
    (run,) = [each["run"] for each in shell("runs", "--json").json["runs"]]
    words = f"headrace get {run} checked --logged warning --step 0"
    assert f"warning: `checked`: a warning of 4.9 KiB: `{words}`" in done.err
    assert f"2 more warnings: `headrace show {run}`" in done.err
    assert "`checked` warns: row 10 is odd" in shell("show", run).out
    assert shell(*words.split()[1:]).code == 0
    assert (shell.folder / "warning.txt").read_text() == "x" * 5000


def test_a_reused_task_shows_what_was_logged_for_its_output_also_after_its_maker_got_new_code(shell: Shell) -> None:
    code = """
    import headrace as hr

    @hr.stage
    def fit(k: int) -> int:
        for step in range(k):
            hr.log("loss", float(k), step)
        return k

    @hr.pipeline
    def one() -> None:
        fit(KIND)
    """

    def shown() -> tuple[list[int], list[list[float]]]:
        """Return what the last run that reused its task shows: how many values were logged, and the curves."""
        with TrackingViews(f"sqlite:///{shell.folder / '.headrace' / 'ledger.db'}") as views:
            return [each.count for each in views.metrics(user)], [list(each.values) for each in views.series(user)]

    shell.write("pipelines.py", code.replace("KIND", "2"))
    maker = shell("run", "one", "--json").json["run"]
    user = shell("run", "one", "--json").json["run"]
    assert shown() == ([2], [[2.0, 2.0]])
    shell.write("pipelines.py", code.replace("KIND", "3"))
    assert shell("resume", maker, "--new-code").code == 0
    assert shown() == ([2], [[2.0, 2.0]])
    shell.write("pipelines.py", code.replace("KIND", "2"))
    user = shell("run", "one", "--json").json["run"]
    assert shown() == ([], []), "the summaries of the maker's first output are gone, and its new ones are of another"


def test_a_failed_attempts_warnings_are_not_shown_for_the_result_of_the_next(shell: Shell) -> None:
    shell.write(
        "pipelines.py",
        """
import headrace as hr

@hr.stage(retries=2, backoff="0s")
def tried(keeps: bool) -> int:
    attempt = hr.attempt()
    if attempt.number == 1:
        hr.log("warning", "the first part is empty")
        if keeps:
            attempt.keep(1)
    if attempt.number < 3:
        hr.log("warning", f"attempt {attempt.number} is lost", 1)
        raise RuntimeError("it broke")
    hr.log("warning", "it went well in the end", 2)
    return attempt.number

@hr.stage(retries=1, backoff="0s")
def quiet() -> int:
    if hr.attempt().number == 1:
        hr.log("warning", "nobody knows")
        raise RuntimeError("it broke")
    return 1

@hr.pipeline
def one(keeps: bool = False) -> None:
    tried(keeps)

@hr.pipeline
def two() -> None:
    quiet()
""",
    )
    done = shell("run", "one")
    assert "warning: `tried`: it went well in the end" in done.err
    shown = shell("show", "latest")
    assert [line for line in shown.out.splitlines() if "warns" in line] == ["`tried` warns: it went well in the end"]
    only = [{"task": "tried", "text": "it went well in the end"}]
    assert shell("show", "latest", "--json").json["warnings"] == only
    assert "is lost" not in shown.out
    shell("run", "one")  # the task is reused
    assert shell("show", "latest", "--json").json["warnings"] == only

    # a result that began at a checkpoint comes from the attempt that kept it, too
    shell("run", "one", "--keeps")
    told = [each["text"] for each in shell("show", "latest", "--json").json["warnings"]]
    assert told == ["the first part is empty", "attempt 1 is lost", "it went well in the end"]

    shell("run", "two")
    assert not [line for line in shell("show", "latest").out.splitlines() if "nobody knows" in line or "logged" in line]
    assert shell("show", "latest", "--html", "--to", "page.html").code == 0
    assert "nobody knows" not in (shell.folder / "page.html").read_text()
    assert shell("get", "latest", "quiet", "--logged", "warning", "--to", "was.txt").code == 0
    assert (shell.folder / "was.txt").read_text() == "nobody knows"
