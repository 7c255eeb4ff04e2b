"""The tables whose rows live between runs, each declared once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

from msgspec.structs import replace

from headrace.ledger.records import (
    ALIASES,
    CURSORS,
    ERASED,
    ERASURES,
    MOVES,
    NOTICES,
    PREDICTION_BATCHES,
    PREDICTION_PARTS,
    ROUTES,
    TOKENS,
    VERSIONS,
    WITHDRAWALS,
    AliasRecord,
    CursorRecord,
    ErasedRecord,
    ErasureRecord,
    MoveRecord,
    NoticeRecord,
    PredictionBatchRecord,
    PredictionPartRecord,
    RouteRecord,
    TokenRecord,
    VersionRecord,
    WithdrawalRecord,
)
from headrace.ledger.standing.declaration import Standing, Target, Twin, Whole
from headrace.spec.artifact import decode_ref
from headrace.spec.endpoint import is_route
from headrace.spec.intent import RegistryKind, identity_of, is_alias, is_name

REGISTRY = "registry.rows"
KINDS = {"kind": get_args(RegistryKind)}
FORMS: dict[str, Callable[[Any], object]] = {
    "name": is_name,
    "alias": is_alias,
    "version": (0).__lt__,
    "was": (0).__lt__,
    "route": is_route,
}
BLOBS: dict[str, Callable[[Any], object]] = {
    "digest": re.compile(r"[0-9a-f]{64}").fullmatch,
    "nonce": re.compile(r"[A-Za-z0-9]+").fullmatch,
}
ALIAS = Whole(columns=("kind", "name", "alias"), known="ALIASES_KNOWN")
"""An alias and its moves. The moves of the same alias in two ledgers can't be merged, because the alias points where
its last move says."""
NOTICE_STATES = ("pending", "sending", "sent", "failed", "imported")
"""The states of a notice: it is to be sent, a process is sending it, it was sent, all tries to send it have failed, or
it came from another ledger or a backup."""


def _differs(row: CursorRecord) -> tuple[str, str]:
    what = f"has cursor `{row.name}` already, with another value as version {row.version}"
    return what, "import into a ledger where no run has advanced it"


def _differs_in_versions(row: VersionRecord | AliasRecord | MoveRecord) -> tuple[str, str]:
    what = f"has other versions of {row.kind} `{row.name}` than the archive"
    return what, "import into a ledger that has no version of this name"


def _differs_in_notices(row: NoticeRecord) -> tuple[str, str]:
    return f"has notice `{row.id}` already, with other facts", "import into another ledger"


def _differs_in_routes(row: RouteRecord) -> tuple[str, str]:
    what = f"has other moves of the route of endpoint `{row.name}` than the archive"
    return what, "import into a ledger that has no endpoint of this name"


def _differs_in_predictions(row: PredictionPartRecord | PredictionBatchRecord) -> tuple[str, str]:
    what = f"has other predictions of endpoint `{row.endpoint}` than the archive"
    return what, "import into a ledger that has no predictions of this endpoint"


def _differs_in_labels(row: PredictionPartRecord) -> tuple[str, str]:
    what = f"has other labels of endpoint `{row.endpoint}` than the archive"
    return what, "import into a ledger that has no labels of this endpoint"


def _differs_in_withdrawals(row: WithdrawalRecord) -> tuple[str, str]:
    return f"has a withdrawal of labels of endpoint `{row.endpoint}` already", "import into another ledger"


def _differs_in_tokens(row: TokenRecord) -> tuple[str, str]:
    return f"has token `{row.id}` already, with another secret", "import into another ledger"


def _differs_in_erasures(row: ErasureRecord) -> tuple[str, str]:
    return f"has erasure `{row.erasure}` already, of another person", "import into another ledger"


def _differs_in_erased(row: ErasedRecord) -> tuple[str, str]:
    return f"has erased blob `{row.digest:.12}` already", "import into another ledger"


def _not_done(row: ErasureRecord) -> ErasureRecord:
    """Return the row of an erasure from an archive, marked as not complete: it isn't applied to this ledger yet."""
    return replace(row, done=None)


def _revoked(row: TokenRecord) -> TokenRecord:
    """Return the row of a token from an archive, marked as revoked: a token is valid only for the ledger that issued
    it."""
    return row if row.revoked is not None else replace(row, revoked=row.at)


def _left_to_others(row: NoticeRecord) -> NoticeRecord:
    """Return the row of a notice from an archive, marked so that this ledger doesn't send it: the archive's own ledger
    sends it."""
    return row if row.state == "sent" else replace(row, state="imported")


def _run_of_version(row: VersionRecord) -> str:
    """Return the run in which a task registered a version, or from which a user registered it. If the version isn't
    from a run, return text that is no run's id."""
    return row.run or (row.origin or "").partition(" ")[0]


def _identity_of_version(values: Mapping[str, Any]) -> str:
    preparation = values["preparation"]
    return identity_of(decode_ref(values["out"]), None if preparation is None else decode_ref(preparation))


def _is_own(name: str, _version: int) -> bool:
    return name.startswith("headrace.")


STANDING: tuple[Standing, ...] = (
    Standing(
        table="cursors",
        reader=CURSORS,
        key={"name": "", "version": -1},
        part="cursors.rows",
        pages="CURSORS_FROM",
        puts="MOVE_CURSOR",
        twin=Twin(finds="CURSOR_ROW", agrees=("value",)),
        differs=_differs,
        called=lambda row: f"cursor `{row.name}`",
        shown=lambda row: f"headrace cursors {row.name}",
        artifacts=("value",),
        only_newest=True,
        points="POINT_CURSOR",
        run_of=lambda row: row.run,
        # The task that set the value can't make it again, since it would have to read the cursor first.
        lost=lambda row: (
            f"set the cursor back: `headrace rewind {row.name} --to-version N`, or without `--to-version` to no value"
        ),
        is_own=_is_own,
    ),
    Standing(
        table="versions",
        reader=VERSIONS,
        key={"kind": "", "name": "", "version": -1},
        part=REGISTRY,
        pages="VERSIONS_FROM",
        puts="PUT_VERSION",
        twin=Twin(finds="VERSION_ROW", agrees=("identity",)),
        twins=(Twin(finds="VERSION_BY_IDENTITY", agrees=("version",)),),
        differs=_differs_in_versions,
        called=lambda row: f"{row.kind} `{row.name}:{row.version}`",
        shown=lambda row: f"headrace {row.kind}s {row.name}",
        artifacts=("out", "report", "preparation"),
        points="POINT_VERSION",
        run_of=_run_of_version,
        keeps_makers=True,
        unique=("kind", "name", "identity"),
        identities={"identity": _identity_of_version},
        forms=FORMS,
        choices=KINDS,
    ),
    Standing(
        table="aliases",
        reader=ALIASES,
        key={"kind": "", "name": "", "alias": ""},
        part=REGISTRY,
        pages="ALIASES_FROM",
        puts="PUT_ALIAS",
        twin=Twin(finds="ALIAS_ROW"),
        whole=ALIAS,
        differs=_differs_in_versions,
        called=lambda row: f"alias `{row.name}@{row.alias}` of a {row.kind}",
        shown=lambda row: f"headrace {row.kind}s {row.name}",
        target=Target(table="versions", finds="VERSION_ROW"),
        forms=FORMS,
        choices=KINDS,
    ),
    Standing(
        table="alias_moves",
        reader=MOVES,
        key={"kind": "", "name": "", "alias": "", "nonce": ""},
        part=REGISTRY,
        pages="MOVES_FROM",
        puts="PUT_MOVE",
        twin=Twin(finds="MOVE_ROW"),
        whole=ALIAS,
        differs=_differs_in_versions,
        called=lambda row: f"move of alias `{row.name}@{row.alias}` of a {row.kind}",
        shown=lambda row: f"headrace {row.kind}s {row.name}",
        target=Target(table="versions", finds="VERSION_ROW"),
        forms=FORMS,
        choices=KINDS,
    ),
    Standing(
        table="outbox",
        reader=NOTICES,
        key={"id": ""},
        part="outbox.rows",
        pages="NOTICES_FROM",
        puts="PUT_NOTICE",
        brought=_left_to_others,
        twin=Twin(finds="NOTICE_ROW", agrees=("facts",)),
        differs=_differs_in_notices,
        called=lambda row: f"notice `{row.id}`",
        shown=lambda _: "headrace notices",
        choices={"state": NOTICE_STATES},
        forgets="FORGET_NOTICES",
    ),
    Standing(
        table="routes",
        reader=ROUTES,
        key={"name": "", "number": -1},
        part=REGISTRY,
        pages="ROUTES_FROM",
        puts="PUT_ROUTE",
        twin=Twin(finds="ROUTE_ROW", agrees=("nonce",)),
        whole=Whole(columns=("name",), known="ROUTES_KNOWN"),
        differs=_differs_in_routes,
        called=lambda row: f"move {row.number} of the route of endpoint `{row.name}`",
        shown=lambda row: f"headrace endpoints {row.name}",
        target=Target(table="versions", finds="ROUTE_VERSION"),
        forms=FORMS,
    ),
    Standing(
        table="tokens",
        reader=TOKENS,
        key={"id": ""},
        part="tokens.rows",
        pages="TOKENS_FROM",
        puts="PUT_TOKEN",
        brought=_revoked,
        twin=Twin(finds="TOKEN_ROW", agrees=("digest",)),
        differs=_differs_in_tokens,
        called=lambda row: f"token `{row.id}`",
        shown=lambda _: "headrace tokens",
    ),
    Standing(
        table="erasures",
        reader=ERASURES,
        key={"erasure": ""},
        part="erasures.rows",
        pages="ERASURES_FROM",
        puts="PUT_ERASURE",
        brought=_not_done,
        twin=Twin(finds="ERASURE_ROW", agrees=("digest",)),
        differs=_differs_in_erasures,
        called=lambda row: f"erasure `{row.erasure}`",
        shown=lambda _: "headrace erasures",
    ),
    Standing(
        table="erased",
        reader=ERASED,
        key={"digest": "", "nonce": ""},
        part="erasures.rows",
        pages="ERASED_FROM",
        puts="PUT_ERASED",
        twin=Twin(finds="ERASED_ROW"),
        differs=_differs_in_erased,
        called=lambda row: f"erased blob `{row.digest:.12}.{row.nonce}`",
        shown=lambda row: f"headrace erasures {row.erasure}",
        forms=BLOBS,
        target=Target(table="erasures", finds="ERASURE_ROW"),
    ),
    Standing(
        table="prediction_parts",
        reader=PREDICTION_PARTS,
        key={"endpoint": "", "number": -1},
        part="predictions.rows",
        pages="PREDICTION_PARTS_FROM",
        puts="PUT_PREDICTION_PART",
        twin=Twin(finds="PREDICTION_PART_ROW", agrees=("writer", "segment")),
        twins=(Twin(finds="PREDICTION_PART_BY_SEGMENT", agrees=("number",)),),
        differs=_differs_in_predictions,
        called=lambda row: f"part {row.number} of the predictions of endpoint `{row.endpoint}`",
        shown=lambda _: "headrace predictions",
        artifacts=("out",),
        points="POINT_PREDICTION_PART",
        unique=("endpoint", "writer", "segment"),
        lost=lambda _: "nothing can make these predictions again: restore a backup (`headrace restore`)",
    ),
    Standing(
        table="label_parts",
        reader=PREDICTION_PARTS,
        key={"endpoint": "", "number": -1},
        part="predictions.rows",
        pages="LABEL_PARTS_FROM",
        puts="PUT_LABEL_PART",
        twin=Twin(finds="LABEL_PART_ROW", agrees=("writer", "segment")),
        twins=(Twin(finds="LABEL_PART_BY_SEGMENT", agrees=("number",)),),
        differs=_differs_in_labels,
        called=lambda row: f"part {row.number} of the labels of endpoint `{row.endpoint}`",
        shown=lambda _: "headrace predictions",
        artifacts=("out",),
        points="POINT_LABEL_PART",
        unique=("endpoint", "writer", "segment"),
        lost=lambda _: "send these labels again, or restore a backup (`headrace restore`)",
    ),
    Standing(
        table="label_withdrawals",
        reader=WITHDRAWALS,
        key={"endpoint": "", "source": "", "nonce": ""},
        part="predictions.rows",
        pages="LABEL_WITHDRAWALS_FROM",
        puts="PUT_WITHDRAWAL",
        twin=Twin(finds="LABEL_WITHDRAWAL_ROW"),
        differs=_differs_in_withdrawals,
        called=lambda row: f"withdrawal of the labels of source `{row.source}` of endpoint `{row.endpoint}`",
        shown=lambda row: f"headrace labels {row.endpoint}",
    ),
    Standing(
        table="prediction_batches",
        reader=PREDICTION_BATCHES,
        key={"endpoint": "", "number": -1},
        part="predictions.rows",
        pages="PREDICTION_BATCHES_FROM",
        puts="PUT_PREDICTION_BATCH",
        twin=Twin(finds="PREDICTION_BATCH_ROW", agrees=("run", "task", "identity")),
        twins=(Twin(finds="PREDICTION_BATCH_OF", agrees=("number",)),),
        differs=_differs_in_predictions,
        called=lambda row: f"batch {row.number} in the predictions of endpoint `{row.endpoint}`",
        shown=lambda row: f"headrace predictions {row.endpoint}",
        artifacts=("out", "given"),
        points="POINT_PREDICTION_BATCH",
        run_of=lambda row: row.run,
        unique=("run", "task", "identity"),
        identities={"identity": lambda values: decode_ref(values["out"]).identity},
    ),
)
"""All standing tables. If rows of one table point at rows of another, the other table comes first."""

PARTS: dict[str, tuple[str, ...]] = {
    part: tuple([each.table for each in STANDING if each.part == part])
    for part in dict.fromkeys(each.part for each in STANDING)
}
"""The parts of an archive in which standing rows are, each with the tables of those rows."""

BY_TABLE = {each.table: each for each in STANDING}
