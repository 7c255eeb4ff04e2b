"""The checker: what must be true of a run when all is over, read from rows and blobs alone.

It shares no code with Headrace: it reads rows by plain SQL, blobs as plain files or objects, events as plain msgpack
(arrays whose first element names the event), and digests by BLAKE3. What it holds them against comes from witnesses
who looked on from outside: rows that were seen committed, what stages noted themselves, what the command printed, and
the values of a run that nobody disturbed.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec.msgpack
from blake3 import blake3

from tests.faults.reading import Rows, Things

DIGEST, SIZE, CODEC, TYPE, INLINE, NONCE, _CONTENT, PARTS, NAMES = range(9)
"""The places of an artifact's fields."""
TASK, ATTEMPT, OUT = 1, 2, 3
"""Where the events of an attempt say which it is; the output of `reused` stands in the same place."""

TEMPORARY = frozenset({"tmp", "spool", "scratch", "workers"})
"""Folders of a store for what goes on; blobs, logs and bundles stay while runs do."""

Event = list[Any]
Ref = Sequence[Any]
Identity = tuple[Any, ...]


@dataclass(kw_only=True)
class Evidence:
    """What witnesses know of a run.

    `seen` are its events that were seen in the ledger while it went on, by number. `noted` are what its stages noted:
    `begin` or `end`, task, attempt. `told` are the tasks that the command said have succeeded, `values` what an
    undisturbed run has made. `merged`: the collector may have had rows name equal generations. `remade`: an output was
    damaged on purpose, so that its task may be done again.
    """

    run: str
    seen: Mapping[int, bytes] = field(default_factory=dict)
    noted: Sequence[tuple[str, str, int]] = ()
    told: frozenset[str] = frozenset()
    values: Mapping[str, Identity] = field(default_factory=dict)
    merged: bool = False
    remade: bool = False


def check(rows: Rows, things: Things, evidence: Evidence) -> list[str]:
    """Return all that is wrong with a run that has succeeded, in words; nothing, where all is well."""
    found = rows.query("select number, state, epoch from runs where id = ?", evidence.run)
    if len(found) != 1:
        return [f"{len(found)} rows of run {evidence.run}"]
    number, state, epoch = found[0]
    bodies = {seq: bytes(body) for seq, body in rows.query("select seq, body from events where run = ?", number)}
    events = [msgspec.msgpack.decode(bodies[seq]) for seq in sorted(bodies)]
    problems = [*_numbers(bodies, evidence), *_course(events, epoch), *_attempts(events, evidence), *_places(events)]
    if state != "succeeded":
        problems.append(f"the run's row says {state}")
    outs = _outputs(events)
    there = things.blobs()
    for task, out in outs.items():
        problems += [f"{task}: {each}" for each in flaws(out, there, things)]
    problems += [*_values(outs, there, things, evidence), *_rows(rows, number, outs), *_names(rows, number, events)]
    return [*problems, *_results(rows, there), *_witnesses(events, outs, evidence)]


def begins(rows: Rows, run: str) -> int:
    """Count how often a driver has begun with a run: who opened it, and each who took it over to go on."""
    found = rows.query("select body from events where run = (select number from runs where id = ?)", run)
    return sum(msgspec.msgpack.decode(bytes(body))[0] == "taken" for (body,) in found)


def begun(words: str, code: int | None, before: int, after: int) -> list[str]:
    """Say that a command has begun what its exit code denies: 2 is said before anything begins, by a resume too."""
    if code != 2 or after <= before:
        return []
    deed = "to go on with the run" if before else "a run"
    return [f"`{words}` ended as if before its start, and had begun {deed}"]


def _numbers(bodies: Mapping[int, bytes], evidence: Evidence) -> Iterator[str]:
    """Every event that was seen is there once, in its place, unchanged."""
    if sorted(bodies) != list(range(len(bodies))):
        missing = sorted(set(range(max(bodies, default=-1) + 1)) - set(bodies))
        yield f"the numbers of the events have gaps: {missing}"
    for seq, body in evidence.seen.items():
        now = bodies.get(seq)
        if now is None:
            yield f"event {seq} was acknowledged and is gone: {_short(body)}"
        elif now != body and not (evidence.merged and _without_nonces(now) == _without_nonces(body)):
            yield f"event {seq} was acknowledged as {_short(body)} and is now {_short(now)}"


def _course(events: Sequence[Event], epoch: int) -> Iterator[str]:
    """A run is opened once, taken by one driver after the other, and closed at its end."""
    tags = [event[0] for event in events]
    if tags[:2] != ["opened", "taken"] or tags.count("opened") != 1:
        yield f"it begins with {tags[:3]}"
    if not events or events[-1][:2] != ["closed", "succeeded"]:
        yield f"it ends with {events[-1:]}"
    epochs = [event[1] for event in events if event[0] == "taken"]
    if epochs != sorted(set(epochs)) or (epochs and epochs[-1] > epoch):
        yield f"its drivers had the epochs {epochs}, and its row has {epoch}"
    for at, tag in enumerate(tags[:-1]):
        if tag == "closed" and tags[at + 1] != "taken":
            yield f"event {at + 1} is `{tags[at + 1]}`, though the run was closed"


def _attempts(events: Sequence[Event], evidence: Evidence) -> Iterator[str]:
    """An attempt is launched before it ends, ends once, and none is launched once its task has an output."""
    launched: set[tuple[str, int]] = set()
    ended: set[tuple[str, int]] = set()
    good: Counter[str] = Counter()
    told: set[str] = set()
    for at, event in enumerate(events):
        match event[0]:
            case "launched":
                if tuple(event[1:3]) in launched:
                    yield f"event {at}: {event[1:3]} was launched already"
                if good[event[TASK]] and not evidence.remade:
                    yield f"event {at}: {event[1:3]} is launched, though its task has an output"
                launched.add((event[TASK], event[ATTEMPT]))
            case "succeeded" | "failed" | "recalled":
                attempt = event[TASK], event[ATTEMPT]
                if attempt not in launched:
                    yield f"event {at}: {attempt} {event[0]} without being launched"
                if attempt in ended:
                    yield f"event {at}: {attempt} {event[0]}, and had ended already"
                ended.add(attempt)
                good[event[TASK]] += event[0] == "succeeded"
            case "reused":
                good[event[TASK]] += 1
            case "logged" | "checkpointed":
                if repr(event) in told:
                    yield f"event {at}: what {event[1:3]} said once is stored twice: {event[0]}"
                told.add(repr(event))
            case _:
                pass
    if not evidence.remade:
        yield from (f"{task} succeeded {count} times" for task, count in good.items() if count > 1)


def _places(events: Sequence[Event]) -> Iterator[str]:
    """Each attempt of a run over several pools is placed, and launched in the pool that it was placed in, which is one
    of those of its driver; what runs in one pool only is placed nowhere."""
    pools: set[str] = set()
    placed: dict[str, str] = {}
    for at, event in enumerate(events):
        match event[0]:
            case "taken":
                first, others = event[5:6], event[7] if len(event) > 7 else ()
                pools, placed = {*first, *(name for name, _ in others)}, {}
            case "gone":
                pools.discard(event[1])
            case "placed":
                placed[event[TASK]] = event[2]
            case "launched":
                pool = placed.pop(event[TASK], None)
                if event[5] not in pools:
                    yield f"event {at}: {event[1:3]} is launched in `{event[5]}`, and the run has {sorted(pools)}"
                if pool not in (None, event[5]):
                    yield f"event {at}: {event[1:3]} is launched in `{event[5]}`, and was placed in `{pool}`"
            case _:
                pass


def _outputs(events: Sequence[Event]) -> dict[str, Ref]:
    """Return the output of each task."""
    return {event[TASK]: event[OUT] for event in events if event[0] in ("succeeded", "reused")}


def flaws(ref: Ref, there: Mapping[str, int], things: Things) -> Iterator[str]:
    """Return what an artifact lacks: its bytes, all of them, with the digest that names them."""
    parts = _at(ref, PARTS)
    for part in parts or ():
        yield from flaws(part, there, things)
    inline, nonce = _at(ref, INLINE), _at(ref, NONCE)
    if inline is None and nonce is None:
        if parts is None:
            yield f"`{ref[DIGEST][:12]}` is nowhere"
        elif ref[DIGEST] != _digest_of_parts(ref):
            yield f"`{ref[DIGEST][:12]}` isn't the digest of its parts"
        return
    if inline is None:
        name = f"{ref[DIGEST]}.{nonce}"
        if name not in there:
            yield f"blob {name} is not in the store"
            return
        inline = things.read(name)
    if len(inline) != ref[SIZE]:
        yield f"`{ref[DIGEST][:12]}` has {len(inline)} bytes, not {ref[SIZE]}"
    if blake3(inline).hexdigest() != ref[DIGEST]:
        yield f"`{ref[DIGEST][:12]}` has bytes of another digest"


def leftovers(rows: Rows, things: Things, local: Path) -> Iterator[str]:
    """Return what is there that nobody needs, once the collector has come by after the grace time."""
    named = {f"{digest}.{nonce}" for digest, nonce in rows.query("select digest, nonce from blobs")}
    for name in things.blobs().keys() - named:
        yield f"blob {name} is named by no run, and the collector left it"
    places = {*things.paths(), *(str(path.relative_to(local)) for path in local.rglob("*") if path.is_file())}
    for path in sorted(places):
        if not TEMPORARY.isdisjoint(path.split("/")[:-1]):
            yield f"{path} is temporary, older than the grace time, and there"


def outputs(rows: Rows, task: str = "") -> set[str]:
    """Name the blobs that tasks have given out, or one of them."""
    found = rows.query("select body from events order by run, seq")
    outs = _outputs([msgspec.msgpack.decode(bytes(body)) for (body,) in found])
    return {name for each, out in outs.items() if task in ("", each) for name in _generations(out)}


def values(rows: Rows, things: Things, run: str) -> dict[str, Identity]:
    """Return what each task of a run has made, told by its bytes."""
    found = rows.query("select body from events where run = (select number from runs where id = ?) order by seq", run)
    outs = _outputs([msgspec.msgpack.decode(bytes(body)) for (body,) in found])
    there = things.blobs()
    return {task: _identity(out, there, things) for task, out in outs.items()}


def plain(rows: Rows, things: Things, run: str) -> dict[str, object]:
    """Return what each task of a run has given, as plain values: numbers, texts, bytes and lists of these."""
    found = rows.query("select body from events where run = (select number from runs where id = ?) order by seq", run)
    outs = _outputs([msgspec.msgpack.decode(bytes(body)) for (body,) in found])
    return {task: _plain(out, things) for task, out in outs.items()}


def _plain(ref: Ref, things: Things) -> object:
    if (parts := _at(ref, PARTS)) is not None:
        return [_plain(part, things) for part in parts]
    data = _at(ref, INLINE)
    data = things.read(f"{ref[DIGEST]}.{_at(ref, NONCE)}") if data is None else data
    return json.loads(data) if ref[CODEC] == "json" else bytes(data)


def _identity(ref: Ref, there: Mapping[str, int], things: Things) -> Identity:
    parts = tuple(_identity(part, there, things) for part in _at(ref, PARTS) or ())
    data = _at(ref, INLINE)
    name = f"{ref[DIGEST]}.{_at(ref, NONCE)}"
    if data is None and name in there:
        data = things.read(name)
    return ref[CODEC], ref[TYPE], None if data is None else blake3(data).hexdigest(), parts


def _values(outs: Mapping[str, Ref], there: Mapping[str, int], things: Things, evidence: Evidence) -> Iterator[str]:
    """Each task of an undisturbed run has an output, and the same; no other has one."""
    if set(outs) != set(evidence.values):
        yield f"tasks with an output differ from those of an undisturbed run: {set(outs) ^ set(evidence.values)}"
    for task in outs.keys() & evidence.values.keys():
        made = _identity(outs[task], there, things)
        if made != evidence.values[task]:
            yield f"{task} made {made}, and undisturbed {evidence.values[task]}"


def _rows(rows: Rows, number: int, outs: Mapping[str, Ref]) -> Iterator[str]:
    """The rows of tasks say what the events say."""
    found = rows.query("select name, state, digest, kind from tasks where run = ?", number)
    for name, state, digest, kind in found:
        is_over = kind == "transfer" and state == "skipped"  # to a region that the run has left
        if state not in ("succeeded", "reused") and not is_over:
            yield f"the row of {name} says {state}"
        if name in outs and digest != outs[name][DIGEST]:
            yield f"the row of {name} has the digest {digest}, its event {outs[name][DIGEST]}"
    if missing := set(outs) - {name for name, *_ in found}:
        yield f"no rows of {missing}"


def _names(rows: Rows, number: int, events: Sequence[Event]) -> Iterator[str]:
    """The run names each generation that its events need, so that the collector keeps it."""
    found = rows.query("select digest, nonce from blobs where run = ?", number)
    named = {f"{digest}.{nonce}" for digest, nonce in found}
    for event in events:
        if event[0] in ("succeeded", "reused"):
            for name in _generations(event[OUT]):
                if name not in named:
                    yield f"{event[TASK]} needs {name}, which the run doesn't name"


def _results(rows: Rows, there: Mapping[str, int]) -> Iterator[str]:
    """What later runs may reuse is there."""
    for key, out in rows.query("select key, out from results where unusable is null"):
        for name in _generations(msgspec.msgpack.decode(bytes(out))):
            if name not in there:
                yield f"result {key[:12]} needs {name}, which is not in the store"


def _witnesses(events: Sequence[Event], outs: Mapping[str, Ref], evidence: Evidence) -> Iterator[str]:
    """What was begun had been recorded first; what was called a success is one; what has succeeded began no more."""
    launched = {(event[TASK], event[ATTEMPT]) for event in events if event[0] == "launched"}
    succeeded = {event[TASK]: event[ATTEMPT] for event in events if event[0] == "succeeded"}
    noted: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for what, task, attempt in evidence.noted:
        noted[what].add((task, attempt))
    for task, attempt in noted["begin"] - launched:
        yield f"attempt {attempt} of {task} began, and no event says that it was launched"
    for task, attempt in noted["begin"]:
        if attempt > succeeded.get(task, attempt) and not evidence.remade:
            yield f"attempt {attempt} of {task} began, though attempt {succeeded[task]} succeeded"
    for count in Counter(evidence.noted).items():
        if count[1] > 1:
            yield f"{count[0]} happened {count[1]} times"
    for task, attempt in succeeded.items():
        if task in {name for name, _ in noted["begin"]} and (task, attempt) not in noted["end"]:
            yield f"attempt {attempt} of {task} succeeded, and its stage did not end"
    for task in evidence.told - outs.keys():
        if task not in {name.partition("[")[0] for name in outs}:
            yield f"the command said that {task} succeeded, and no event says so"


def _generations(ref: Ref) -> Iterator[str]:
    if _at(ref, NONCE) is not None:
        yield f"{ref[DIGEST]}.{ref[NONCE]}"
    for part in _at(ref, PARTS) or ():
        yield from _generations(part)


def _digest_of_parts(ref: Ref) -> str:
    told = [f"{part[CODEC]}:{part[TYPE]}:{part[DIGEST]}" for part in ref[PARTS]]
    text = json.dumps([_at(ref, NAMES), told], separators=(",", ":"), ensure_ascii=False)
    return blake3(text.encode()).hexdigest()


def _at(ref: Ref, place: int) -> Any:
    return ref[place] if len(ref) > place else None


def _without_nonces(body: bytes) -> Any:
    return _blank(msgspec.msgpack.decode(body))


def _blank(value: Any) -> Any:
    """Return a value of an event without the nonces of the artifacts (and the bundle) in it."""
    if not isinstance(value, list):
        return value
    digest = bool(value) and isinstance(value[0], str) and len(value[0]) == 64
    nonces = {NONCE} if digest and len(value) > NONCE + 1 else {2} if digest and len(value) > 2 else set()
    return [None if place in nonces else _blank(each) for place, each in enumerate(value)]


def _short(body: bytes) -> str:
    return str(msgspec.msgpack.decode(body))[:200]
