"""What people and programs see of a ledger."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from headrace.errors import NotFoundError
from headrace.inspect.views import attempt_views, took_s
from headrace.ledger.database.sqlite import SqliteDatabase
from headrace.ledger.ledger import Ledger
from headrace.ledger.views.rows import GONE
from headrace.ledger.views.tracking import TrackingViews
from headrace.ledger.views.views import Views
from headrace.run.events import (
    Asked,
    Closed,
    Event,
    Failed,
    Gone,
    Launched,
    Opened,
    Renewed,
    Span,
    Succeeded,
    Taken,
    Traced,
    Woke,
    encode_event,
)
from headrace.run.ports import RunRow, TaskLine
from headrace.spec.artifact import Ref
from headrace.spec.bundle import Bundle
from headrace.spec.failure import Failure
from headrace.spec.graph import Node, Out
from headrace.spec.stage import Stage
from tests.ledger.samples import after, blob, digest, first, open_ledger, run_row, task_row

BUNDLE = Bundle(digest=digest("bundle"), size=1, nonce="n1")


@pytest.fixture
def ledger(address: str) -> Iterator[Ledger]:
    with open_ledger(address) as ledger:
        yield ledger


@pytest.fixture
def views(ledger: Ledger) -> Iterator[Views]:
    with Views(ledger.address) as views:
        yield views


def ended(ledger: Ledger, *, state: str = "succeeded", **more: object) -> str:
    """Store a run that has ended, and return its id."""
    row = run_row(state, **{k: more.pop(k) for k in list(more) if k in RunRow.__struct_fields__})
    with ledger.open_run(row.pipeline) as run:
        run.commit(first(run=row, **more))
        return run.run


def test_a_run_is_shown_in_the_form_that_programs_rely_on(ledger: Ledger, views: Views) -> None:
    out = blob("model")
    row = task_row(
        out=out,
        seconds=2.0,
        load_s=0.25,
        save_s=0.5,
        usd=0.125,
        pool="here",
        queued_s=1.5,
        attempts=2,
        reason="`table` changed",
    )
    run = ended(ledger, tasks=[row], seconds=3.0, usd=0.125, params='{"month":"3"}')
    shown = msgspec.json.decode(msgspec.json.encode(views.show(run)))
    assert shown == {
        "run": run,
        "pipeline": "flights",
        "state": "succeeded",
        "created": 100.0,
        "seconds": 3.0,
        "usd": 0.125,
        "params": {"month": "3"},
        "why": "",
        "tasks": [
            {
                "name": "fit",
                "stage": "fit",
                "kind": "train",
                "state": "succeeded",
                "reason": "`table` changed",
                "attempts": 2,
                "seconds": 2.0,
                "load_s": 0.25,
                "save_s": 0.5,
                "usd": 0.125,
                "pool": "here",
                "queued_s": 1.5,
                "pool_reason": None,
                "outputs": [{"digest": out.digest, "type": "builtins.str", "bytes": 5}],
            }
        ],
    }


def test_runs_are_listed_newest_first_without_tasks(ledger: Ledger, views: Views) -> None:
    ids = [ended(ledger), ended(ledger, pipeline="other"), ended(ledger, state="failed", why="task `fit` failed")]
    found = views.runs()
    assert [run.run for run in found.runs] == ids[::-1]
    assert b"tasks" not in msgspec.json.encode(found)
    assert found.runs[0].why == "task `fit` failed"
    assert [run.run for run in views.runs(pipeline="other").runs] == [ids[1]]


def test_runs_are_listed_page_by_page(ledger: Ledger, views: Views) -> None:
    ids = [ended(ledger) for _ in range(5)]
    page = views.runs(limit=2)
    seen = [run.run for run in page.runs]
    while page.more is not None:
        page = views.runs(limit=2, before=page.more)
        seen += [run.run for run in page.runs]
    assert seen == ids[::-1]


def test_tasks_are_shown_in_their_order(ledger: Ledger, views: Views) -> None:
    run = ended(ledger, tasks=[task_row(name, ordinal=i) for i, name in enumerate(["z", "fit[2]", "fit[10]", "a"])])
    shown = views.show(run).tasks
    assert shown
    assert [task.name for task in shown] == ["z", "fit[2]", "fit[10]", "a"]


def test_the_fields_of_a_tuple_or_record_are_a_tasks_several_outputs(ledger: Ledger, views: Views) -> None:
    def whole(codec: str, kind: str) -> Ref:
        return Ref(digest=digest(kind), size=3, codec=codec, type=kind, parts=(blob("a"), blob("bc")))

    several = {"parts": "builtins.tuple", "record": "pipelines.Split"}
    rows = [task_row(codec, out=whole(codec, kind), ordinal=i) for i, (codec, kind) in enumerate(several.items())]
    run = ended(ledger, tasks=[*rows, task_row("list", out=whole("parts", "builtins.list"), ordinal=2)])
    shown = views.show(run).tasks
    assert shown
    assert [[output.bytes for output in task.outputs] for task in shown] == [[1, 2], [1, 2], [3]]


def test_what_happened_is_read_until_the_latest_driver_took_the_run(ledger: Ledger) -> None:
    views = TrackingViews(ledger.address)
    events: list[Event] = [Opened("flights", (), Bundle(digest="b", size=0, nonce="n"), 100.0), Taken(1, "ada", 100.1)]
    later: list[Event] = [Closed("failed", 104.0), Taken(2, "ada", 200.0), Woke(201.0)]
    with views, ledger.open_run("flights") as run:
        run.commit(first([encode_event(each) for each in events]))
        assert list(views.events_until_taken(run.run)) == events
        run.commit(after(run, *[encode_event(each) for each in later]))
        assert list(views.events_until_taken(run.run)) == [*events, *later[:2]]
        assert took_s(views, views.find(run.run), 206.0) == 4.0 + 6.0
    with TrackingViews(ledger.address) as views:
        assert took_s(views, views.find(run.run), 206.0) == 4.0 + 1.0


def test_a_lost_pool_is_shown_once_and_its_reason_does_not_name_it_again(ledger: Ledger) -> None:
    whys = {
        "far": "pool `far`: nothing answers at `10.0.0.1`",
        "near": "pool `near` can't start a worker: out of memory",
        "third": "the store `s3://bucket` can't be reached",
    }
    gone = [Gone("far", "pool `far`: it was away before", 1.0), *(Gone(pool, why, 2.0) for pool, why in whys.items())]
    run = ended(ledger, bodies=[encode_event(each) for each in gone])
    with TrackingViews(ledger.address) as tracking:
        assert [(each.pool, each.why, each.at) for each in tracking.gone_pools(run)] == [
            ("far", "nothing answers at `10.0.0.1`", 2.0),
            ("near", "it can't start a worker: out of memory", 2.0),
            ("third", "the store `s3://bucket` can't be reached", 2.0),
        ]


def test_a_run_whose_driver_died_waits_for_another(ledger: Ledger, views: Views) -> None:
    with ledger.open_run("flights") as run:
        run.commit(first(tasks=[task_row(state="running"), task_row("done")]))
        shown = views.show(run.run)
        assert (shown.state, shown.why) == ("running", "")
        assert [task.state for task in shown.tasks or ()] == ["succeeded", "running"]
    shown = views.show(run.run)
    assert (shown.state, shown.why) == ("waiting", GONE)
    assert [(task.state, task.reason) for task in shown.tasks or ()] == [
        ("succeeded", "no earlier result"),
        ("waiting", GONE),
    ]
    assert views.runs().runs[0].state == "waiting"


def test_a_task_that_runs_has_the_seconds_since_its_start_while_its_run_lives(ledger: Ledger, views: Views) -> None:
    since = time.time() - 100.0
    rows = [
        task_row("load", ordinal=0, seconds=2.0, started=since - 5.0),
        task_row("fit", "running", ordinal=1, attempts=0),
        task_row("fit[0]", "running", ordinal=2, started=since, parent="fit"),
        task_row("fit[1]", ordinal=3, seconds=4.0, started=since, parent="fit"),
    ]
    with ledger.open_run("flights") as run:
        run.commit(first(run=run_row("running"), tasks=rows))
        load, fit, one, two = (task.seconds for task in views.show(run.run).tasks or ())
        assert (load, fit, two) == (2.0, 0.0, 4.0)
        assert 100.0 <= one < 200.0
        summed, (_, fits) = sum((load, fit, one, two)), views.stages(run.run)
        assert summed - 2.0 <= fits.seconds < 204.0
        assert 100.0 <= fits.longest_s < 200.0
    assert [task.seconds for task in views.show(run.run).tasks or ()] == [2.0, 0.0, 0.0, 4.0]
    assert [stage.seconds for stage in views.stages(run.run)] == [2.0, 4.0]


@pytest.mark.parametrize("name", [None, "", "latest"])
def test_the_newest_run_needs_no_name(ledger: Ledger, views: Views, name: str | None) -> None:
    ended(ledger)
    newest = ended(ledger)
    assert views.find(name).run == newest


def test_a_run_is_found_by_the_beginning_of_its_id(ledger: Ledger, views: Views) -> None:
    run, _ = ended(ledger), ended(ledger, pipeline="other")
    assert views.find(run).run == run
    assert views.find(run[:-4]).run == run


def test_a_beginning_that_several_runs_share_names_them(ledger: Ledger, views: Views) -> None:
    run, other = ended(ledger), ended(ledger, pipeline="flights2")
    with pytest.raises(NotFoundError, match="several runs begin with") as caught:
        views.find(run[:8])
    assert run in (caught.value.hint or "")
    assert other in (caught.value.hint or "")


def test_a_run_is_found_by_the_end_of_its_id_where_only_one_ends_so(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        run = ended(ledger)
    db = sqlite3.connect(ledger.address)
    with db:
        columns = "pipeline, state, created, bundle, seconds, usd, params, why, ended, epoch, holder"
        copy = f"insert into runs (id, {columns}) select ?, {columns} from runs where id = ?"
        db.executemany(copy, [("20261125-desk-3f2a", run), ("20261126-night-9c41", run), ("20261127-desk-9c41", run)])
    db.close()
    with Views(ledger.address) as views:
        assert views.find("3f2a").run == "20261125-desk-3f2a"
        assert views.find("desk-9c41").run == "20261127-desk-9c41"
        with pytest.raises(NotFoundError, match="several runs end in `9c41`") as caught:
            views.find("9c41")
        with pytest.raises(NotFoundError, match="no run `f2a`"):
            views.find("f2a")
    assert caught.value.hint == "give more characters: `20261127-desk-9c41`, `20261126-night-9c41`"
    ledger.close()


def test_an_unknown_run_names_those_that_come_near(ledger: Ledger, views: Views) -> None:
    run = ended(ledger)
    wrong = run[:-1] + ("0" if run[-1] != "0" else "1")
    with pytest.raises(NotFoundError, match=f"no run `{wrong}`") as caught:
        views.find(wrong)
    assert caught.value.hint == f"did you mean `{run}`?"
    with pytest.raises(NotFoundError) as caught:
        views.find("%")
    assert caught.value.hint == f"the newest are `{run}`"


def test_a_ledger_that_is_not_there_is_empty_and_stays_unmade(address: str, tmp_path: Path) -> None:
    for _ in range(2):
        with Views(address) as views:
            assert isinstance(views._db, SqliteDatabase), "an empty one, in memory"
            assert views.runs().runs == ()
            with pytest.raises(NotFoundError, match="no run yet"):
                views.show()
    assert list(tmp_path.iterdir()) == []


def test_stages_are_summed_up_in_the_order_in_which_they_came(ledger: Ledger, views: Views) -> None:
    rows = [
        task_row("load", ordinal=0, seconds=1.0, out=blob("data")),
        task_row("fit", "running", ordinal=1, attempts=0),
        task_row("fit[0]", ordinal=2, seconds=2.0, usd=0.5, attempts=2, out=blob("model")),
        task_row("fit[1]", "failed", ordinal=3, seconds=4.0, usd=0.25),
    ]
    load, fit = views.stages(ended(ledger, tasks=rows))
    assert (load.stage, load.tasks, load.states, load.bytes) == ("load", 1, {"succeeded": 1}, 4)
    assert (fit.stage, fit.tasks, fit.attempts, fit.seconds, fit.longest_s, fit.usd) == ("fit", 3, 3, 6.0, 4.0, 0.75)
    assert fit.states == {"running": 1, "succeeded": 1, "failed": 1}


def test_the_first_failures_are_given_for_a_short_look(ledger: Ledger, views: Views) -> None:
    rows = [task_row(f"t[{i}]", "failed" if i % 2 else "succeeded", ordinal=i) for i in range(100)]
    run = ended(ledger, tasks=rows)
    assert [task.name for task in views.failures(run, limit=3)] == ["t[1]", "t[3]", "t[5]"]


def test_a_tasks_row_comes_back_as_it_was_stored(ledger: Ledger, views: Views) -> None:
    numbers = {"started": 1.0, "seconds": 2.0, "load_s": 3.0, "save_s": 4.0, "usd": 5.0, "queued_s": 6.0}
    row = task_row("fit[0]", out=blob("model"), log=Span("log/1", 3, 9), parent="fit", pool="here", **numbers)
    run = ended(ledger, tasks=[row])
    assert views.task(run, "fit[0]") == row
    assert views.rows(run) == [row]
    (shown,) = views.show(run).tasks or ()
    for name in TaskLine.__struct_fields__:
        assert getattr(shown, name) == getattr(row, name)


def test_an_unknown_task_names_those_that_come_near(ledger: Ledger, views: Views) -> None:
    run = ended(ledger, tasks=[task_row("fit"), task_row("features")])
    with pytest.raises(NotFoundError, match=f"run `{run}` has no task `featurs`") as caught:
        views.task(run, "featurs")
    assert caught.value.hint == "did you mean `features`?"
    run = ended(ledger, tasks=[task_row("clean"), task_row("sql_version")])
    for name, hint in {"sklearn": "did you mean `clean`? its", "lightgbm": "its"}.items():
        with pytest.raises(NotFoundError) as caught:
            views.task(run, name)
        assert caught.value.hint == f"{hint} tasks are `clean`, `sql_version`"


def test_what_a_task_made_its_outputs_of_is_found_in_all_runs_of_the_pipeline_with_the_same_code(
    ledger: Ledger, views: Views
) -> None:
    out = blob("out")
    for inputs, pipeline in ((b"1", "flow"), (b"2", "flow"), (b"3", "other")):
        made = {"key": "k", "code": "c", "inputs": inputs, "out": out}
        tasks = (
            task_row("fit", **made),
            task_row("fits", **made),
            task_row("fit[a]", **made | {"inputs": inputs + b"a"}),
            task_row("fit[b]", "failed", **made | {"out": None}),
            task_row("fit[c]", **made | {"code": "d"}),
        )
        ended(ledger, pipeline=pipeline, tasks=tasks)
    assert sorted(views.made_of("flow", "fit", "c", is_map=False) or ()) == [b"1", b"2"]
    assert sorted(views.made_of("flow", "fit", "c", is_map=True) or ()) == [b"1a", b"2a"]
    assert views.made_of("flow", "fit", "e", is_map=False) == []


def test_the_ingredients_of_an_earlier_run_are_found_for_any_run(ledger: Ledger, views: Views) -> None:
    before = ended(ledger, tasks=[task_row(key="k1")], created=1.0, ended=2.0)
    ended(ledger, tasks=[task_row(key="beside")], created=3.0, ended=9.0)
    ended(ledger, tasks=[task_row(key="lost")], created=3.0, ended=None)
    now = ended(ledger, tasks=[task_row(key="k2")], created=4.0, ended=5.0)
    found = views.earlier(now, "fit")
    assert found is not None
    assert (found.run, found.key) == (before, "k1")
    assert views.earlier(before, "fit") is None


def stage(name: str) -> Stage:
    return Stage(name=name, function=f"pipelines:{name}")


def node(name: str) -> Node:
    return Node(name=name, stage=f"pipelines:{name}")


def test_the_graph_is_that_of_the_latest_trace(ledger: Ledger, views: Views) -> None:
    events = [
        Opened(pipeline="flights", files=("pipelines.py",), bundle=BUNDLE, at=1.0),
        Traced((stage("old"),), (node("old"),)),
        Renewed(BUNDLE, 2.0),
        Traced((stage("load"),), (node("load"),)),
        Asked(0, Out("load")),
        Traced((stage("fit"),), (node("fit"),)),
    ]
    run = ended(ledger, bodies=[encode_event(event) for event in events])
    story = views.story(run)
    assert list(story.stages) == ["pipelines:load", "pipelines:fit"]
    assert list(story.nodes) == ["load", "fit"]


def test_the_attempts_of_a_task_say_how_each_went(ledger: Ledger, views: Views) -> None:
    failure = Failure(kind="crash", message="its process died")
    events = [
        Launched("fit", 1, "key", (1,), "here", "no earlier result", b"", at=1.0),
        Failed("fit", 1, failure, 2.0, seconds=0.5, log=Span("log/1", 0, 5)),
        Launched("fit", 2, "key", (2,), "there", "no earlier result", b"", at=3.0),
        Launched("load", 1, "key", (2,), "there", "forced", b"", at=3.0),
        Succeeded("fit", 2, blob("model"), 3.0, 1.5, log=Span("log/2", 5, 9)),
    ]
    run = ended(ledger, bodies=[encode_event(event) for event in events])
    one, two = attempt_views(views.story(run), "fit")
    assert (one.attempt, one.state, one.pool, one.seconds, one.failure) == (1, "failed", "here", 0.5, failure)
    assert (two.attempt, two.state, two.pool, two.log) == (2, "succeeded", "there", Span("log/2", 5, 9))
    assert [(each.task, each.state) for each in attempt_views(views.story(run))][-1] == ("load", "running")


def test_history_gives_what_tasks_took_in_the_latest_runs(ledger: Ledger, views: Views) -> None:
    for seconds in (1.0, 2.0, 3.0):
        rows = [
            task_row("load", seconds=seconds, load_s=0.5, save_s=0.25, out=blob("data")),
            task_row("fit", ordinal=1, attempts=0, key=None, out=blob("all the models")),
            task_row("fit[0]", ordinal=2, seconds=seconds, parent="fit", out=blob("model")),
            task_row("fit[1]", "reused", ordinal=3, parent="fit"),
        ]
        ended(ledger, tasks=rows)
    ended(ledger, pipeline="other", tasks=[task_row("load", seconds=99.0)])
    found = views.history("flights", runs=2)
    loads = [past for past in found if past.task == "load"]
    assert [(past.ran, past.seconds, past.moving_s, past.bytes) for past in loads] == [
        (1, 3.0, 0.75, 4.0),
        (1, 2.0, 0.75, 4.0),
    ]
    fit = next(past for past in found if past.task == "fit")
    assert (fit.ran, fit.elements, fit.seconds, fit.longest_s, fit.bytes) == (1, 2, 3.0, 3.0, 5.0)


@pytest.mark.slow
def test_a_large_run_and_many_runs_are_shown_as_fast_as_an_empty_ledger(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "small") as small, open_ledger(tmp_path / "large") as large:
        ended(small)
        some = ended(large, tasks=[task_row(f"t[{i}]") for i in range(10)])
        db = sqlite3.connect(large.address)
        with db:
            columns = "pipeline, state, created, bundle, seconds, usd, params, why, ended, epoch, holder"
            copy = f"insert into runs (id, {columns}) select ?, {columns} from runs where id = ?"
            db.executemany(copy, [(f"{some}-{i}", some) for i in range(1000)])
        db.close()
        ended(large, tasks=[task_row(f"t[{i}]", ordinal=i, out=blob(str(i)), parent="t") for i in range(10_000)])

        def took(look: Callable[[Views], object], ledger: Ledger) -> float:
            times = []
            for _ in range(5):
                start = time.process_time()
                with Views(ledger.address) as views:
                    look(views)
                times.append(time.process_time() - start)
            return min(times)

        for look in (
            lambda views: views.stages(),
            lambda views: views.failures(),
            lambda views: views.runs(limit=10_000),
        ):
            assert took(look, large) - took(look, small) < 0.05


def test_an_artifact_is_found_by_the_beginning_of_its_digest_parts_included(ledger: Ledger, views: Views) -> None:
    number = Ref(digest=digest("1"), size=1, codec="json", type="builtins.int", inline=b"1")
    whole = Ref(digest=digest("all"), size=3, codec="parts", type="builtins.tuple", parts=(blob("a"), blob("bc")))
    ended(ledger, tasks=[task_row("fit", out=whole), task_row("count", out=number, ordinal=1)], kept=[whole])
    assert views.artifact(whole.digest) == whole
    assert views.artifact(digest("bc")[:10]) == blob("bc")
    assert views.artifact(number.digest) == number
    with pytest.raises(NotFoundError, match="no task produced"):
        views.artifact("ffff")
    with pytest.raises(NotFoundError, match="several artifacts"):
        views.artifact("")
