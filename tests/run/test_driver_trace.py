"""The drive loop and the process that traces."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from headrace.backends.simulated.behaviour import Ask, Behaviour, Death, Decline, Say, Tracing, Wait, tracing
from headrace.errors import PlacementError, ProjectError, RefusedError, RunCancelled, TraceError, UsageError
from headrace.run.driver.driver import Driver
from headrace.run.events import (
    Asked,
    Event,
    Launched,
    Noted,
    Renewed,
    Succeeded,
    Taken,
    TraceEnded,
    TraceFailed,
    encode_event,
)
from headrace.run.ports import Batch
from headrace.run.wire import Answer, Question, Refused, Trace
from headrace.spec.artifact import Ref
from headrace.spec.failure import Failure
from headrace.spec.stage import Resources
from headrace.testing.graphs import BUNDLE, Sketch, chain, number
from tests.run.bed import Bed, OtherSettings, gives, until


def renew(bed: Bed, body: Tracing, **more: object) -> Driver:
    """Return a driver that goes on with the run with other code, whose body does this."""
    bed.take()
    stale = bed.run.inbox()
    bed.cluster.tracer = body
    driver = bed.driver(**more)
    driver.adopt(keep=False)
    driver.open([Taken(2, "me", 0.0), Renewed(BUNDLE, 0.0, counted=True)], stale)
    driver.trace()
    return driver


def refused(order: Trace) -> Behaviour:
    """Import nothing."""
    yield Decline(Refused("ProjectError", "can't import `pipelines`", "fix the line"))
    return None


def endless(order: Trace) -> Behaviour:
    """Trace without end."""
    yield Wait(1e6)
    return None


def test_a_stage_that_no_pool_can_hold_is_refused_before_anything_runs() -> None:
    sketch = Sketch()
    sketch.declare("huge", resources=Resources(cpu=64))
    sketch.node("huge")
    bed = Bed(gives, sketch)
    with pytest.raises(PlacementError, match="no pool can hold stage `huge`"):
        bed.driver().drive()
    assert bed.run.record.row is None


def test_a_pipeline_that_can_not_be_traced_leaves_no_run() -> None:
    def trace(order: Trace) -> Behaviour:
        yield Decline(Refused("ProjectError", "there is no such pipeline", "look again"))
        return None

    bed = Bed(gives, trace)
    with pytest.raises(ProjectError, match="there is no such pipeline"):
        bed.driver().drive()
    assert bed.run.record.row is None


def test_only_the_blobs_that_may_be_in_a_region_of_other_settings_do_not_count_as_damaged() -> None:
    def trace(order: Trace) -> Behaviour:
        yield Say(TraceFailed(Failure("user", "two blobs are missing", damaged=("aa.n1", "bb.n1"))))
        return None

    bed = Bed(gives, trace)
    bed.driver(absent_regions=OtherSettings("bb.n1"), opens_s=0.0).drive()
    (failed,) = bed.events(TraceFailed)
    assert failed.failure.damaged == ("aa.n1",)
    assert failed.failure.message == "two blobs are missing; it may be in region `far`, which isn't in the settings"


def test_a_body_that_asks_is_answered() -> None:
    sketch = Sketch()
    first = sketch.node("first")
    heard: list[object] = []

    def trace(order: Trace) -> Behaviour:
        heard.append((yield Ask(Question(0, "now"))))
        yield Say(sketch.traced())
        heard.append((yield Ask(Asked(1, first))))
        heard.append((yield Ask(Question(2, "file", "data.csv"))))
        heard.append((yield Ask(Question(3, "file", "gone.csv"))))
        sketch.node("second", x=first)
        yield Say(sketch.traced())
        yield Say(TraceEnded())
        return None

    def files(about: str, path: str) -> Ref:
        if path == "gone.csv":
            raise UsageError("there is no `gone.csv`", hint="make it")
        return number(9)

    bed = Bed(gives, trace)
    assert bed.driver(files=files).drive().state == "succeeded"
    now, value, file, gone = heard
    assert isinstance(now, Answer)
    assert isinstance(value, Answer)
    assert isinstance(gone, Answer)
    [noted] = bed.events(Noted)
    assert now.now == noted.now
    assert value.ref == bed.machine.tasks["first"].out
    assert file == Answer(2, ref=number(9))
    assert (gone.error, gone.hint) == ("there is no `gone.csv`", "make it")


def dying(sketch: Sketch, deaths: int) -> Tracing:
    """Return a tracer that dies so many times after its first answer."""
    left = [deaths]
    first = sketch.node("first")
    nodes = sketch.traced()

    def trace(order: Trace) -> Behaviour:
        yield Say(nodes)
        yield Ask(Asked(0, first))
        if left[0]:
            left[0] -= 1
            raise Death("crash", "the body crashed")
        yield Say(TraceEnded())
        return None

    return trace


def test_a_tracer_that_dies_is_started_again() -> None:
    bed = Bed(gives, dying(Sketch(), 2))
    assert bed.driver().drive().state == "succeeded"
    assert len(bed.events(Succeeded)) == 1


def test_a_tracer_that_dies_time_and_again_fails_the_run() -> None:
    bed = Bed(gives, dying(Sketch(), 99))
    closed = bed.driver().drive()
    assert closed.state == "failed"
    assert len(bed.events(TraceFailed)) == 1
    assert "the process that traces the pipeline died" in closed.why


def test_a_tracer_that_dies_before_there_is_a_run_is_an_error_of_usage() -> None:
    def trace(order: Trace) -> Behaviour:
        yield Wait(1.0)
        raise Death("crash", "the import crashed")

    bed = Bed(gives, trace)
    with pytest.raises(UsageError, match="the process that traces the pipeline died: the import crashed"):
        bed.driver().drive()
    assert bed.run.record.row is None


def test_a_body_that_traces_otherwise_when_resumed_is_told_which_node_differs() -> None:
    sketch = Sketch()
    first = sketch.node("first")

    def ask(events: Iterable[Event]) -> Tracing:
        def trace(order: Trace) -> Behaviour:
            for event in events:
                yield Say(event)
            yield Ask(Asked(0, first))
            yield Wait(1e6)
            return None

        return trace

    bed = Bed(gives, ask([sketch.traced()]))
    driver = bed.driver()
    until(driver, bed, lambda: bed.run.record.tasks.get("first") is not None)
    bed.take()
    other = Sketch()
    other.node("another")
    bed.cluster.tracer = ask([other.traced()])
    driver = bed.driver()
    driver.adopt()
    driver.open([Taken(2, "me", 0.0, again=True)])
    driver.trace()
    with pytest.raises(TraceError, match=r"called `another` .* where it had called `first`"):
        driver.drive()


def test_a_run_stays_as_it_was_if_its_new_code_can_not_be_traced() -> None:
    bed = Bed(gives, chain(3))
    bed.driver().drive()
    record, huge = bed.run.record, Sketch()
    huge.declare("huge", resources=Resources(cpu=64))
    huge.node("huge")
    before = [*record.bodies], dict(record.tasks), record.row
    told = (refused, ProjectError), (tracing(huge.events()), PlacementError), (endless, KeyboardInterrupt)
    for body, problem in told:
        driver = renew(bed, body)
        if body is endless:
            driver.interrupt()
        with pytest.raises(problem):
            driver.drive()
        assert (record.bodies, record.tasks, record.row) == before
        assert not bed.cluster.living
    bed.cluster.clock.advance(1000.0)
    with pytest.raises(RefusedError, match="the run took longer than 5 s, and the new code wasn't traced yet"):
        renew(bed, endless, timeout_s=5.0).drive()
    assert (record.bodies, record.tasks, record.row) == before
    assert renew(bed, tracing(chain(4).events())).drive().state == "succeeded"
    assert len(bed.events(Launched)) == 4  # the first three tasks kept their outputs


def test_a_cancel_meant_for_a_dead_driver_does_not_end_a_resume_with_new_code() -> None:
    bed = Bed(gives, chain(3))
    bed.driver().drive()
    bed.ledger.signal("run-1", "cancel", by="ann")
    with pytest.raises(ProjectError, match="can't import"):
        renew(bed, refused).drive()
    assert renew(bed, tracing(chain(4).events())).drive().state == "succeeded"
    assert bed.run.record.inbox == []


def test_a_cancel_while_the_new_code_is_traced_ends_that_resume_alone() -> None:
    bed = Bed(gives, chain(3))
    bed.driver().drive()
    record = bed.run.record
    before = [*record.bodies], dict(record.tasks), record.row
    clock = bed.cluster.clock
    bed.cluster.at(clock.monotonic() + 5.0, lambda: bed.ledger.signal("run-1", "cancel", by="ann"))
    with pytest.raises(RunCancelled, match="cancelled by ann, and the new code wasn't traced yet"):
        renew(bed, endless).drive()
    assert (record.bodies, record.tasks, record.row) == before
    assert renew(bed, tracing(chain(4).events())).drive().state == "succeeded"
    assert record.inbox == []


def test_what_was_finished_while_no_driver_lived_is_stored_even_if_the_new_code_can_not_be_traced() -> None:
    bed = Bed(gives, chain(1))
    driver = bed.driver()
    until(driver, bed, lambda: bool(bed.events(Launched)))
    with pytest.raises(ProjectError):
        renew(bed, refused).drive()
    assert len(bed.events(Succeeded)) == 1
    assert not bed.events(Renewed)


def test_a_run_that_an_older_headrace_left_with_broken_new_code_goes_on_with_code_that_works() -> None:
    bed = Bed(gives, chain(2))
    bed.driver().drive()
    bed.take()
    bodies = map(encode_event, [Taken(2, "me", 0.0), Renewed(BUNDLE, 0.0, counted=True)])
    bed.run.commit(Batch(first=bed.run.next_seq, bodies=[*bodies], run=bed.run.record.row, tasks=[], renewed=True))
    assert not bed.run.record.tasks
    stored = len(bed.run.record.bodies)
    with pytest.raises(ProjectError):
        renew(bed, refused).drive()
    assert len(bed.run.record.bodies) == stored
    assert renew(bed, tracing(chain(2).events())).drive().state == "succeeded"
    assert len(bed.events(Launched)) == 2
