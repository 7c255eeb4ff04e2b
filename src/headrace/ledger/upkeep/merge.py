"""Merges equal generations: rows that name a duplicate are changed to name the generation that stays.

The store never reuses existing bytes on a write, so equal outputs of two attempts are stored twice. If an event is
rewritten here, only the nonces of generations change: the event's meaning and the digests in it stay the same.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from headrace.errors import BlobDamaged, BlobMissing
from headrace.ledger import records, registration
from headrace.ledger.database import scan
from headrace.ledger.database.database import Database
from headrace.ledger.inventory import Generation, Inventory
from headrace.ledger.ports import Blobs
from headrace.ledger.standing.declaration import Row, Standing
from headrace.ledger.standing.tables import STANDING
from headrace.run.events import (
    Checkpointed,
    Event,
    Lacked,
    Logged,
    Opened,
    Pointed,
    Renewed,
    Reused,
    Shown,
    Succeeded,
    Traced,
    encode_event,
    stored_event,
)
from headrace.spec.artifact import Ref, decode_ref
from headrace.spec.bundle import Bundle
from headrace.spec.graph import Arg, Const, Many, Node
from headrace.spec.intent import Intent

_encode_ref = msgspec.msgpack.Encoder().encode


Moves = Mapping[Generation, str]
"""For each generation that is replaced, the nonce of the equal generation that stays."""

MOST = 20_000
"""The largest number of generations to replace in one pass; the rest wait for the next pass."""

FEW = 8
"""If there are at most this many moves, each encoded row is first searched for the nonces (or digests) to replace, and
is decoded only if it contains one."""


class _Any(dict[Generation, str]):
    """A dict that returns the same nonce for every generation."""

    def get(self, _key: object, _default: object = None) -> str:
        return "any"


ANY: Moves = _Any()
"""Moves after which generations of the same bytes compare equal."""


class Plan(Struct):
    """All generations to replace (`moves`), and for each run, by its number, those that the run names (`by_run`)."""

    moves: dict[Generation, str] = {}
    by_run: dict[int, dict[Generation, str]] = {}


def plan(named: Inventory, stores: Mapping[str, Blobs], driven: Container[int] = (), limit: int = MOST) -> Plan:
    """Return the generations that runs name but that equal generations can replace.

    Of several equal generations, one stays. If a run in `driven` names a generation, that generation stays, since a
    driver holds the run and its rows can't be changed. Otherwise the generation that most runs name stays. The bytes of
    the generation that stays are verified first. A generation is replaced only if each of its regions also has the
    generation that stays, so that no region loses its replica. Generations beyond `limit` are left for another pass.
    """
    found = Plan()
    for equal in named.equal():
        places = {nonce: _places(stores, equal.digest, nonce) for nonce in equal.runs}
        there = [nonce for nonce in equal.runs if places[nonce]]
        there.sort(key=lambda nonce: (_rank(equal.runs[nonce], driven), nonce))
        keep = next((nonce for nonce in there if _is_whole(stores, places[nonce], equal.digest, nonce)), None)
        for nonce in there if keep is not None else ():
            if keep is not None and nonce != keep and places[nonce] <= places[keep]:
                found.moves[equal.digest, nonce] = keep
                for run in equal.runs[nonce]:
                    found.by_run.setdefault(run, {})[equal.digest, nonce] = keep
        if len(found.moves) >= limit:
            break
    return found


def _rank(runs: Sequence[int], driven: Container[int]) -> tuple[bool, int]:
    return not any(run in driven for run in runs), -len(runs)


def _places(stores: Mapping[str, Blobs], digest: str, nonce: str) -> set[str]:
    return {name for name, store in stores.items() if store.size(digest, nonce) is not None}


def point_run(db: Database, run: int, moves: Moves) -> None:
    """Rewrite a run's rows and events so that they name the generations that stay, within the caller's transaction."""
    mentions, sql = _mentioning(moves), db.sql
    for name, _, out in scan.outs(db, run):
        if mentions(out) and (to := moved(decode_ref(out), moves)) is not None:
            db.execute(sql.POINT_TASK, (_encode_ref(to), run, name))
    for seq, body in scan.events(db, run):
        if mentions(body) and (event := moved_event(stored_event(body), moves)) is not None:
            db.execute(sql.POINT_EVENT, (encode_event(event), run, seq))
    for (digest, nonce), keep in moves.items():
        for size, born in db.execute(sql.BLOB, (run, digest, nonce)).fetchall():
            db.execute(sql.FORGET_BLOB, (run, digest, nonce))
            db.execute(sql.PUT_BLOB, (run, digest, keep, size, born))


def point_results(db: Database, moves: Moves) -> None:
    """Rewrite results, which belong to no single run, so that they name the generations that stay, within the caller's
    transaction."""
    mentions, sql = _mentioning(moves), db.sql
    for result in records.results(db):
        if mentions(result.out) and (to := moved(decode_ref(result.out), moves)) is not None:
            # this changes nothing if a driver has replaced the result meanwhile
            db.execute(sql.POINT_RESULT, (_encode_ref(to), result.key, result.out))


def point_standing(db: Database, moves: Moves) -> None:
    """Rewrite the rows of standing tables so that they name the generations that stay, within the caller's transaction.
    The registry is locked, since all artifacts of a row are written back: none may be added to the row meanwhile."""
    registration.lock(db)
    mentions = _mentioning(moves)
    for table in STANDING:
        if table.points is not None:
            for row in table.rows(db):
                if any(mentions(out) for out in table.encoded(row)):
                    _point_row(db, table, row, moves)


def _point_row(db: Database, table: Standing, row: Row, moves: Moves) -> None:
    assert table.points is not None
    there = {column: getattr(row, column) for column in (*table.key, *table.artifacts)}
    values = dict(there)
    for column in table.artifacts:
        if values[column] is not None and (to := moved(decode_ref(values[column]), moves)) is not None:
            values[column] = _encode_ref(to)
    if values != there:
        db.execute(getattr(db.sql, table.points), db.sql.values(table.points, values))


def moved(ref: Ref, moves: Moves) -> Ref | None:
    """Return a reference with its generations replaced, or None if none of them is to be replaced. A small value, whose
    bytes are in the reference itself, is listed in `moves` with the nonce `""`. If it is replaced, its bytes are
    removed."""
    to = moves.get((ref.digest, ref.nonce or ""))
    parts = [moved(part, moves) for part in ref.parts or ()]
    if to is None and not any(parts):
        return None
    whole = ref.parts and tuple(new or old for new, old in zip(parts, ref.parts, strict=True))
    return replace(ref, nonce=to or ref.nonce, inline=ref.inline if to is None else None, parts=whole)


def moved_event(event: Event, moves: Moves) -> Event | None:
    """Return an event with its generations replaced, or None if none of them is to be replaced."""
    match event:
        case Succeeded() if event.intents:
            out, intents = moved(event.out, moves), tuple(_moved_intent(each, moves) for each in event.intents)
            changed = out is not None or intents != event.intents
            return replace(event, out=out or event.out, intents=intents) if changed else None
        case Logged(texts=texts, figures=figures):
            told, drawn = (tuple(_moved_shown(each, moves) for each in every) for every in (texts, figures))
            return None if (told, drawn) == (texts, figures) else replace(event, texts=told, figures=drawn)
        case Pointed(value=Ref() as value):
            to = moved(value, moves)
            return None if to is None else replace(event, value=to)
        case Succeeded() | Reused() | Checkpointed():
            out = moved(event.out, moves)
            return None if out is None else replace(event, out=out)
        case Lacked(ref=ref):
            to = moved(ref, moves)
            return None if to is None else replace(event, ref=to)
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


def _moved_intent(intent: Intent, moves: Moves) -> Intent:
    fields = {name: getattr(intent, name) for name in intent.__struct_fields__}
    return replace(intent, **{name: moved(ref, moves) or ref for name, ref in fields.items() if isinstance(ref, Ref)})


def _moved_shown(shown: Shown, moves: Moves) -> Shown:
    return replace(shown, out=moved(shown.out, moves) or shown.out)


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
    """Return a function that quickly checks whether bytes may contain a generation that is to be replaced."""
    if len(moves) > FEW:
        return lambda _: True
    words = [(nonce or digest).encode() for digest, nonce in moves]
    return lambda data: any(word in data for word in words)


def _is_whole(stores: Mapping[str, Blobs], places: Container[str], digest: str, nonce: str) -> bool:
    try:
        for name, store in stores.items():
            if name in places:
                store.verify(digest, nonce)
    except (BlobDamaged, BlobMissing):
        return False
    return True
