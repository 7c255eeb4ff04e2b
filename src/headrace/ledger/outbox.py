"""The outbox, for a process that sends notices. A notice may be sent more than once, or never: Headrace gives up after
`TRIES` tries, or when the notice is too old.

A process claims one notice at a time. The claim is stored before anything is sent. It counts as one try, and lasts for
`CLAIM_S` seconds. So if a process dies while it sends a notice, only one try is lost, and two processes don't send the
same notice at the same time. A notice keeps its id in all tries, so that a receiver recognises a notice that it has
already.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing

import msgspec
from msgspec.structs import asdict, replace

from headrace.ledger.database.database import Unmet
from headrace.ledger.ledger import Ledger
from headrace.ledger.records import NOTICES, NoticeRecord
from headrace.ledger.standing.notices import LASTS_S

PAUSES_S = (60.0, 300.0, 1800.0, 7200.0, 21600.0)
"""The pauses after the first failed try, the second, and so on: the next try begins this many seconds later at the
earliest."""
TRIES = len(PAUSES_S) + 1
"""How often Headrace tries to send a notice."""
CLAIM_S = 60.0
"""If a try hasn't ended after this many seconds, its process is gone. A try takes 20 seconds at most."""
LOOKED_AT = 100
"""At most this many due notices are read at once."""


class Outbox:
    """The outbox of a ledger. It has a connection of its own."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._db = ledger.connect()

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def due(self, kinds: Collection[str]) -> list[NoticeRecord]:
        """Return the notices of these kinds that may be sent now, the oldest first."""
        db, now = self._db, self._ledger.now()
        with db.troubles():
            wanted = msgspec.json.encode(sorted(kinds)).decode()
            return list(NOTICES.read(db.execute(db.sql.DUE_NOTICES, (now, now - LASTS_S, wanted, LOOKED_AT))))

    def claim(self, notice: NoticeRecord) -> NoticeRecord | None:
        """Count a try of a notice, and return the notice as it is now. Return None if another process has claimed it in
        the meantime."""
        db = self._db
        claimed = replace(notice, state="sending", tries=notice.tries + 1, due=self._ledger.now() + CLAIM_S)

        def work() -> NoticeRecord:
            db.require(db.sql.CLAIM_NOTICE, (claimed.due, notice.id, notice.tries, notice.due))
            return claimed

        try:
            with db.troubles():
                return db.atomically(work)
        except Unmet:
            return None

    def settle(self, notice: NoticeRecord, *, sent: Collection[str], error: str | None) -> NoticeRecord:
        """Record how the try of a claimed notice ended, and return the notice as it is now. `sent` names the ways
        (`command` or `webhook`) by which the notice was sent so far. `error` says why the other ways failed; it is None
        if no way failed."""
        state = "sent" if error is None else "failed" if notice.tries >= TRIES else "pending"
        due = self._ledger.now() + pause_s(notice.tries)
        done = replace(notice, state=state, due=due, sent=",".join(sent), error=error)
        db = self._db
        with db.troubles():
            db.execute(db.sql.SETTLE_NOTICE, db.sql.values("SETTLE_NOTICE", asdict(done)))
        return done


def pause_s(tries: int) -> float:
    """Return how many seconds to wait, at least, before the next try of a notice that was tried `tries` times."""
    return PAUSES_S[min(tries, len(PAUSES_S)) - 1]


def retry(ledger: Ledger) -> None:
    """Give new tries to all notices that are not sent yet, so that each is due now. Notices that are too old, that came
    from another ledger, or that another process is sending stay as they are."""
    with closing(ledger.connect()) as db, db.troubles():
        now = ledger.now()
        db.execute(db.sql.RETRY_NOTICES, (now, now - LASTS_S, now))
