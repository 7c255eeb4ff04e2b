"""Making equal generations one: the rows of the runs that name the others are pointed at the one that stays.

A put never trusts what is in the store, so equal outputs of two attempts lie there twice. An event that is rewritten
here says the same of the same bytes: only where they lie is new.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Container, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from headrace.errors import BlobDamaged, BlobMissing
from headrace.record import statements as sql
from headrace.record.names import Generation, RunRecord
from headrace.record.ports import Blobs
from headrace.run.events import (
    Checkpointed,
    Event,
    Opened,
    Renewed,
    Reused,
    Succeeded,
    Traced,
    decode_event,
    encode_event,
)
from headrace.spec.artifact import Ref
from headrace.spec.bundle import Bundle
from headrace.spec.graph import Arg, Const, Many, Node

_decode_ref = msgspec.msgpack.Decoder(Ref).decode
_encode_ref = msgspec.msgpack.Encoder().encode


Moves = Mapping[Generation, str]
"""Which generation becomes which, by the nonce of the equal one that stays."""

FEW = 8
"""Up to so many moves, bytes that mention none of them aren't decoded."""


def plan(
    named: Mapping[Generation, Sequence[RunRecord]], store: Blobs, driven: Container[str] = ()
) -> dict[Generation, str]:
    """Say which generations that runs name could be made one.

    Of equal ones that are there, one stays that a driven run names, which can't be told to name another; else that
    which most runs name. It is read and verified first.
    """
    equal: dict[str, list[str]] = defaultdict(list)
    for digest, nonce in named:
        equal[digest].append(nonce)
    found: dict[Generation, str] = {}
    for digest, nonces in equal.items():
        if len(nonces) > 1:
            there = [nonce for nonce in nonces if store.size(digest, nonce) is not None]
            ranks = {nonce: _rank(named[digest, nonce], driven) for nonce in there}
            there.sort(key=lambda nonce: (ranks[nonce], nonce))
            keep = next((nonce for nonce in there if _is_whole(store, digest, nonce)), None)
            if keep is not None:
                found.update(((digest, nonce), keep) for nonce in there if nonce != keep)
    return found


def _rank(runs: Sequence[RunRecord], driven: Container[str]) -> tuple[bool, int]:
    return not any(run.id in driven for run in runs), -len(runs)


def point_run(db: sqlite3.Connection, run: int, moves: Moves) -> None:
    """Rewrite a run's rows and events, within the caller's transaction."""
    mentions = _mentioning(moves)
    for name, out in db.execute(sql.TASK_OUTS, (run,)).fetchall():
        if mentions(out) and (to := moved(_decode_ref(out), moves)) is not None:
            db.execute(sql.POINT_TASK, (_encode_ref(to), run, name))
    for seq, body in db.execute(sql.EVENTS_FROM, (run, 0, -1)).fetchall():
        if mentions(body) and (event := moved_event(decode_event(body), moves)) is not None:
            db.execute(sql.POINT_EVENT, (encode_event(event), run, seq))
    for (digest, nonce), keep in moves.items():
        for size, born in db.execute(sql.BLOB, (run, digest, nonce)).fetchall():
            db.execute(sql.FORGET_BLOB, (run, digest, nonce))
            db.execute(sql.PUT_BLOB, (run, digest, keep, size, born))


def point_results(db: sqlite3.Connection, moves: Moves) -> None:
    """Rewrite the results, which belong to no run alone, within the caller's transaction."""
    mentions = _mentioning(moves)
    for key, _, _, out, _ in db.execute(sql.ALL_RESULTS).fetchall():
        if mentions(out) and (to := moved(_decode_ref(out), moves)) is not None:
            db.execute(sql.POINT_RESULT, (_encode_ref(to), key))


def moved(ref: Ref, moves: Moves) -> Ref | None:
    """Give the ref with its generations moved, or None where none of them is."""
    to = moves.get((ref.digest, ref.nonce or ""))
    parts = [moved(part, moves) for part in ref.parts or ()]
    if to is None and not any(parts):
        return None
    whole = ref.parts and tuple(new or old for new, old in zip(parts, ref.parts, strict=True))
    return replace(ref, nonce=to or ref.nonce, parts=whole)


def moved_event(event: Event, moves: Moves) -> Event | None:
    """Give the event with its generations moved, or None where none of them is."""
    match event:
        case Succeeded() | Reused() | Checkpointed():
            out = moved(event.out, moves)
            return None if out is None else replace(event, out=out)
        case Opened() | Renewed():
            bundle = _moved_bundle(event.bundle, moves)
            return None if bundle is None else replace(event, bundle=bundle)
        case Traced(nodes=nodes):
            found = tuple(_moved_node(node, moves) for node in nodes)
            return None if found == nodes else replace(event, nodes=found)
        case _:
            return None


def _moved_bundle(bundle: Bundle, moves: Moves) -> Bundle | None:
    to = moves.get((bundle.digest, bundle.nonce))
    return None if to is None else replace(bundle, nonce=to)


def _moved_node(node: Node, moves: Moves) -> Node:
    return replace(node, args=tuple((name, _moved_arg(arg, moves)) for name, arg in node.args))


def _moved_arg(arg: Arg, moves: Moves) -> Arg:
    match arg:
        case Const(ref=ref):
            return Const(moved(ref, moves) or ref)
        case Many(items=items):
            return replace(arg, items=tuple(_moved_arg(item, moves) for item in items))
        case _:
            return arg


def _mentioning(moves: Moves) -> Callable[[bytes], bool]:
    """Give a quick look whether bytes may hold a generation that moves."""
    if len(moves) > FEW:
        return lambda _: True
    nonces = [nonce.encode() for _, nonce in moves]
    return lambda data: any(nonce in data for nonce in nonces)


def _is_whole(store: Blobs, digest: str, nonce: str) -> bool:
    try:
        store.verify(digest, nonce)
    except (BlobDamaged, BlobMissing):
        return False
    return True
