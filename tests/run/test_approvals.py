"""Tasks that wait until somebody approves them: their driver leaves, and whoever decides goes on."""

from __future__ import annotations

import msgspec
import pytest

from headrace.backends.simulated.behaviour import Ask, Behaviour, Say, Wait, tracing
from headrace.run.driver.driver import Driver, Waits
from headrace.run.events import (
    Approved,
    Asked,
    Cancelled,
    Closed,
    Expired,
    Launched,
    Rejected,
    Renewed,
    Submitted,
    Taken,
    TraceEnded,
    decode_event,
)
from headrace.run.machine.invariants import check
from headrace.run.machine.machine import Machine
from headrace.run.ports import Decision
from headrace.run.projection import run_row
from headrace.run.wire import Do, Trace
from headrace.spec.policy import Policy
from headrace.testing.graphs import BUNDLE, Sketch, chain, number, numbers
from tests.run.bed import Bed, gives, until

HOUR = 3600.0


def asking(within_s: float | None = None) -> Sketch:
    """`load`, then `publish`, which somebody must approve, then `tell`; and beside them `slow`."""
    sketch = Sketch()
    raw = sketch.node("load")
    sketch.declare("publish", approval="risk-team", within_s=within_s)
    done = sketch.node("publish", table=raw)
    sketch.node("tell", table=done)
    sketch.node("slow")
    return sketch


def decide(bed: Bed, kind: str = "approve", *, by: str = "ann", why: str = "it is fine", at: float = 0.0) -> None:
    """Send what somebody decides about the task that waits last."""
    asked = bed.events(Submitted)[-1]
    body = msgspec.json.encode(Decision(task=asked.task, key=asked.key, why=why)).decode()
    bed.ledger.signal("run-1", kind, by=by, body=body, at=at)


def pass_time(bed: Bed, seconds: float) -> None:
    bed.cluster.clock.advance(bed.cluster.clock.monotonic() + seconds)


def next_driver(bed: Bed, notes: list[str] | None = None, *, again: bool = False) -> Driver:
    bed.run = bed.ledger.take(bed.run.record.run)
    driver = bed.driver(note=(notes if notes is not None else []).append)
    driver.adopt()
    driver.open([Taken(bed.run.epoch, "ann", bed.cluster.clock.now(), again=again)], bed.run.inbox())
    return driver


def renewing_driver(bed: Bed, by: str, notes: list[str] | None = None) -> Driver:
    """Return a driver that gives the run new code."""
    bed.run = bed.ledger.take(bed.run.record.run)
    driver, now = bed.driver(note=(notes if notes is not None else []).append), bed.cluster.clock.now()
    driver.adopt(keep=False)
    driver.open([Taken(bed.run.epoch, by, now), Renewed(BUNDLE, now, counted=True)], bed.run.inbox())
    return driver


def left(bed: Bed, **more: object) -> Waits:
    """Drive until the run waits for something outside."""
    found = bed.driver(**more).drive()
    assert isinstance(found, Waits)
    return found


def test_a_driver_leaves_a_run_that_waits_once_all_else_is_done_and_holds_nothing() -> None:
    bed = Bed(gives, asking())
    assert left(bed).why == "`publish` waits for approval by risk-team"
    assert {each.task for each in bed.events(Launched)} == {"load", "slow"}
    record = bed.run.record
    assert record.row is not None
    assert (record.row.state, record.row.why) == ("waiting", "`publish` waits for approval by risk-team")
    assert bed.cluster.living == 0
    (notice,) = record.notices
    assert notice.kind == "run.waiting"


def test_a_run_that_waits_for_an_hour_costs_nothing_and_goes_on_once_it_is_approved() -> None:
    bed = Bed(gives, asking())
    left(bed)
    before = bed.run.record.row
    assert before is not None
    pass_time(bed, HOUR)
    decide(bed)
    closed = next_driver(bed).drive()
    assert closed.state == "succeeded"
    row = bed.run.record.row
    assert row is not None
    assert before.seconds <= row.seconds < before.seconds + 60
    (publish,) = [each for each in reversed(bed.rows) if each.name == "publish" and each.state == "succeeded"][:1]
    assert publish.reason.endswith("; approved by ann: it is fine")


def test_a_living_driver_hears_of_an_approval_at_once() -> None:
    bed = Bed(slow_but(gives), asking())
    driver = bed.driver()
    while not bed.events(Submitted):
        driver.tick(0.2)
    decide(bed)
    assert driver.drive().state == "succeeded"
    assert not bed.run.record.notices
    order = [type(event) for event in map(decode_event, bed.run.events()) if isinstance(event, Approved | Launched)]
    assert order.count(Approved) == 1


def slow_but(script: object) -> object:
    def behave(order: Do) -> Behaviour:
        if order.task == "slow":
            yield Wait(100.0)
        return (yield from script(order))  # type: ignore[operator]

    return behave


def test_a_rejection_refuses_the_run_and_skips_what_follows_and_a_resume_asks_again() -> None:
    bed = Bed(gives, asking())
    left(bed)
    decide(bed, "reject", why="AUC is too low")
    closed = next_driver(bed).drive()
    assert (closed.state, closed.why) == ("refused", "task `publish` was skipped: rejected by ann: AUC is too low")
    states = {row.name: row.state for row in bed.rows}
    assert states == {"load": "succeeded", "publish": "skipped", "tell": "skipped", "slow": "succeeded"}
    assert isinstance(next_driver(bed, again=True).drive(), Waits)
    assert len(bed.events(Submitted)) == 2


def test_whoever_started_the_run_can_reject_and_not_approve_unless_its_policy_says_so() -> None:
    notes: list[str] = []
    bed = Bed(gives, asking())
    left(bed)
    decide(bed, by="")  # the bed's runs are started by nobody
    assert isinstance(next_driver(bed, notes).drive(), Waits)
    (note,) = notes
    assert note.startswith("`headrace approve` of `publish` by  has no effect: ")
    assert note.endswith(": whoever started the run or gave it new code can't approve its tasks")
    decide(bed, "reject", by="")
    assert next_driver(bed).drive().state == "refused"
    bed = Bed(gives, asking(), Policy(approve_own=True))
    left(bed)
    decide(bed, by="")
    assert next_driver(bed).drive().state == "succeeded"


def test_whoever_gave_a_run_new_code_cannot_approve_it_and_whoever_only_resumed_it_can() -> None:
    notes: list[str] = []
    bed = Bed(gives, asking())
    left(bed)
    driver = renewing_driver(bed, "bob")
    driver.trace()
    assert isinstance(driver.drive(), Waits)
    decide(bed, by="bob")
    assert isinstance(next_driver(bed, notes).drive(), Waits)
    assert "by bob has no effect: whoever started the run or gave it new code" in notes[0]
    decide(bed, by="ann")  # the last driver ran for her
    assert next_driver(bed).drive().state == "succeeded"


@pytest.mark.parametrize("before", [True, False], ids=["before the resume", "while the new code is traced"])
def test_an_approval_counts_for_new_code_that_leaves_the_task_s_key_as_it_is(before: bool) -> None:
    notes: list[str] = []
    bed = Bed(gives, asking())
    left(bed)
    if before:
        decide(bed)
    driver = renewing_driver(bed, "bob", notes)
    if not before:
        decide(bed)
    driver.tick(0.0)  # the tracer has not answered yet
    driver.trace()
    assert driver.drive().state == "succeeded"
    assert not notes
    first, second = bed.events(Submitted)
    assert first.key == second.key
    assert bed.run.record.inbox == []


def test_an_approval_waits_for_inputs_that_new_code_makes_again_and_for_the_rest_of_the_trace() -> None:
    def constant(order: Do) -> Behaviour:
        yield Wait(10.0)
        return number(1)

    def trace(_: Trace) -> Behaviour:
        sketch = Sketch()
        sketch.declare("load", module="other")
        raw = sketch.node("load")
        yield Say(sketch.traced())
        yield Ask(Asked(0, raw))
        yield Wait(10.0)
        sketch.declare("publish", approval="risk-team")
        sketch.node("publish", table=raw)
        yield Say(sketch.traced())
        yield Say(TraceEnded())
        return None

    notes: list[str] = []
    bed = Bed(constant, asking())
    left(bed)
    decide(bed)
    bed.cluster.tracer = trace
    driver = renewing_driver(bed, "bob", notes)
    driver.trace()
    assert driver.drive().state == "succeeded"
    assert [each.task for each in bed.events(Launched)].count("load") == 2
    assert not notes
    assert bed.run.record.inbox == []


def test_a_driver_that_leaves_keeps_no_approval_of_a_task_that_does_not_ask() -> None:
    notes: list[str] = []
    bed = Bed(gives, asking())
    left(bed)
    for task in ("tell", "nothing"):
        bed.ledger.signal("run-1", "approve", body=msgspec.json.encode(Decision(task=task, key="", why="so")).decode())
    assert isinstance(next_driver(bed, notes).drive(), Waits)
    assert len(notes) == 2
    assert bed.run.record.inbox == []


def publishing(*, element: int | None = None) -> Sketch:
    """`publish`, which somebody must approve, or a map of it whose only element has this number."""
    sketch = Sketch()
    sketch.declare("publish", approval="risk-team")
    if element is None:
        sketch.node("publish")
    else:
        sketch.node("publish", over=["n"], n=numbers(element))
    return sketch


def test_a_decision_about_a_task_that_new_code_no_longer_has_is_told_and_not_kept() -> None:
    notes: list[str] = []
    bed = Bed(gives, publishing())
    left(bed)
    decide(bed)
    bed.cluster.tracer = tracing(chain(1).events())
    driver = renewing_driver(bed, "bob", notes)
    driver.trace()
    until(driver, bed, lambda: bed.events(Launched) != [])
    driver.tick(0.2)
    (note,) = notes  # while the run goes on
    assert note.startswith("`headrace approve` of `publish` by ann has no effect: ")
    assert driver.drive().state == "succeeded"
    assert bed.run.record.inbox == []


def test_an_element_may_still_ask_until_its_map_is_spread_even_after_the_trace() -> None:
    sketch = Sketch()
    sketch.declare("publish", approval="risk-team")
    sketch.node("publish", over=["n"], n=sketch.node("load"))
    bed = Bed(gives, sketch)
    driver = bed.driver()
    until(driver, bed, lambda: bed.events(Launched) != [])
    assert bed.machine.trace_ended
    assert bed.machine.approvals.may_ask("publish[n=1]")
    assert not bed.machine.approvals.may_ask("load[n=1]")


def test_a_driver_that_closes_a_run_leaves_no_decision_unread() -> None:
    notes: list[str] = []
    bed = Bed(gives, chain(1))
    driver = bed.driver(note=notes.append, beat_s=HOUR)
    until(driver, bed, lambda: bed.events(Launched) != [])
    bed.ledger.signal("run-1", "approve", body=msgspec.json.encode(Decision(task="step", key="", why="so")).decode())
    assert driver.drive().state == "succeeded"
    assert len(notes) == 1
    assert bed.run.record.inbox == []
    assert len(bed.closed) == 1


def test_a_decision_about_an_element_that_the_new_list_does_not_have_is_told_once_the_map_is_spread() -> None:
    notes: list[str] = []
    bed = Bed(gives, publishing(element=1))
    left(bed)
    decide(bed)
    bed.cluster.tracer = tracing(publishing(element=2).events())
    driver = renewing_driver(bed, "bob", notes)
    driver.trace()
    until(driver, bed, lambda: notes != [])
    assert notes[0].startswith("`headrace approve` of `publish[n=1]` by ann has no effect: ")
    assert isinstance(driver.drive(), Waits)
    assert bed.run.record.inbox == []


def test_an_approval_that_comes_in_time_counts_even_if_it_is_read_late() -> None:
    bed = Bed(gives, asking(within_s=HOUR))
    assert left(bed).why.endswith(" UTC")
    asked = bed.events(Submitted)[-1].at
    pass_time(bed, 2 * HOUR)
    decide(bed, at=asked + HOUR - 1)
    assert next_driver(bed).drive().state == "succeeded"


def test_an_approval_that_comes_too_late_has_no_effect_and_the_run_is_refused() -> None:
    notes: list[str] = []
    bed = Bed(gives, asking(within_s=HOUR))
    left(bed)
    pass_time(bed, 2 * HOUR)
    decide(bed, at=bed.cluster.clock.now())
    closed = next_driver(bed, notes).drive()
    assert closed.state == "refused"
    assert "nobody approved it in time: approval by risk-team until " in closed.why
    assert notes == ["`headrace approve` of `publish` by ann has no effect: it came too late"]
    assert len(bed.events(Expired)) == 1


def test_a_living_driver_refuses_what_nobody_approves_in_time() -> None:
    bed = Bed(slow_but(gives), asking(within_s=10.0))
    closed = bed.driver().drive()
    assert closed.state == "refused"
    assert len(bed.events(Expired)) == 1


def test_an_approval_of_another_key_or_one_that_cannot_be_read_has_no_effect() -> None:
    notes: list[str] = []
    bed = Bed(gives, asking())
    left(bed)
    body = msgspec.json.encode(Decision(task="publish", key="another", why="")).decode()
    bed.ledger.signal("run-1", "approve", by="ann", body=body)
    bed.ledger.signal("run-1", "approve", by="ann", body="publish")
    assert isinstance(next_driver(bed, notes).drive(), Waits)
    assert [note.partition(" has no effect: ")[2] for note in notes] == [
        "the task doesn't wait for an approval, or its code or inputs have changed since",
        "it can't be read",
    ]
    assert bed.run.record.inbox == []


def test_an_approved_task_that_fails_is_tried_again_without_another_approval() -> None:
    tries: list[int] = []

    def fails_once(order: Do) -> Behaviour:
        yield Wait(1.0)
        if order.task == "publish" and not tries:
            tries.append(1)
            raise RuntimeError("the server is down")
        return number(1)

    bed = Bed(fails_once, asking())
    left(bed)
    decide(bed)
    assert next_driver(bed).drive().state == "failed"
    assert next_driver(bed, again=True).drive().state == "succeeded"
    assert len(bed.events(Submitted)) == 1


def test_a_resume_without_an_approval_leaves_again_and_tells_nobody_twice() -> None:
    bed = Bed(gives, asking())
    left(bed)
    assert isinstance(next_driver(bed, again=True).drive(), Waits)
    assert len(bed.run.record.notices) == 1


def test_a_run_that_waits_can_be_cancelled() -> None:
    bed = Bed(gives, asking())
    left(bed)
    driver = next_driver(bed)
    driver.open([Cancelled("ann", "cancelled by ann", bed.cluster.clock.now())])
    assert driver.drive().state == "cancelled"


def test_each_element_of_a_map_is_approved_for_itself_and_one_rejection_skips_the_map() -> None:
    sketch = Sketch()
    sketch.declare("publish", approval="risk-team")
    sketch.node("publish", over=["n"], n=numbers(1, 2))
    bed = Bed(gives, sketch)
    assert left(bed).why == "`publish[n=1]` and 1 more wait for approval by risk-team"
    assert {row.name: row.state for row in bed.rows}["publish"] == "waiting"
    for kind, asked in zip(("approve", "reject"), bed.events(Submitted), strict=True):
        body = msgspec.json.encode(Decision(task=asked.task, key=asked.key, why="so")).decode()
        bed.ledger.signal("run-1", kind, by="ann", body=body)
    assert next_driver(bed).drive().state == "refused"
    assert {row.name: row.state for row in bed.rows}["publish"] == "skipped"


def test_a_replay_at_each_event_gives_a_sound_machine_and_the_stored_row() -> None:
    bed = Bed(gives, asking(within_s=HOUR))
    left(bed)
    decide(bed, "reject")
    next_driver(bed).drive()
    decide_again = next_driver(bed, again=True)
    decide_again.drive()
    decide(bed)
    next_driver(bed).drive()
    machine = Machine()
    for event in map(decode_event, bed.run.events()):
        machine.step(event)
        if not isinstance(event, Closed | Rejected):
            check(machine)
    assert run_row(machine, 0.0).state == "succeeded"


def test_a_task_that_is_approved_in_another_region_no_longer_asks_while_its_inputs_are_looked_for() -> None:
    bed = Bed(gives, asking())
    left(bed)
    asked = bed.events(Submitted)[-1]
    machine = Machine()
    for event in map(decode_event, bed.run.events()):
        machine.step(event)
    machine.step(Taken(2, "ann", 0.0, region="far"))
    machine.step(Approved(asked.task, asked.key, "ann", "it is fine", 0.0))
    assert machine.tasks["publish"].phase == "probing"
    assert not machine.phases.asking
    check(machine)
