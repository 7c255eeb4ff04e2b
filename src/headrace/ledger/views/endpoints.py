"""Views of endpoints: their routes, the tokens of their clients, what they answered, and what came of it."""

from __future__ import annotations

from headrace.ledger.records import (
    BATCHES,
    ERASED,
    ERASURES,
    PREDICTION_LOGS,
    PREDICTION_PARTS,
    ROUTES,
    TOKENS,
    WITHDRAWALS,
    ErasedRecord,
    ErasureRecord,
    PredictionBatchRow,
    PredictionLogRow,
    PredictionPartRecord,
    RouteRecord,
    TokenRecord,
    WithdrawalRecord,
)
from headrace.ledger.views.views import Views


class EndpointViews(Views):
    """Reads what the ledger has about endpoints, in addition to all that `Views` reads."""

    def routes(self) -> list[RouteRecord]:
        """Return the last move of each endpoint's route, sorted by endpoint. Retired endpoints are included."""
        return self._query.read(ROUTES, self._sql.ROUTES)

    def route_moves(self, endpoint: str) -> list[RouteRecord]:
        """Return the moves of an endpoint's route, the newest first."""
        return self._query.read(ROUTES, self._sql.ROUTES_OF, endpoint)

    def tokens(self) -> list[TokenRecord]:
        """Return all tokens by which clients ask endpoints, the newest first."""
        return self._query.read(TOKENS, self._sql.TOKENS)

    def erasures(self) -> list[ErasureRecord]:
        """Return all erasures of persons, the newest first."""
        return self._query.read(ERASURES, self._sql.ERASURES)

    def erased_by(self, erasure: str) -> list[ErasedRecord]:
        """Return the generations that an erasure has erased."""
        return self._query.read(ERASED, self._sql.ERASED_BY, erasure)

    def erasure_of(self, generation: str) -> tuple[str, ErasureRecord] | None:
        """Return what an erased generation (`DIGEST.NONCE`) was, and the erasure that erased it. Return None if none
        did."""
        digest, _, nonce = generation.partition(".")
        for row in self._query.read(ERASED, self._sql.ERASED_ROW, digest, nonce):
            for erasure in self._query.read(ERASURES, self._sql.ERASURE_ROW, row.erasure):
                return row.what, erasure
        return None

    def prediction_logs(self) -> list[PredictionLogRow]:
        """Return the size of each endpoint's prediction log in the ledger, sorted by endpoint. Labels and batches
        aren't counted."""
        return self._query.read(PREDICTION_LOGS, self._sql.PREDICTION_LOGS)

    def is_sealed(self, writer: str, segment: int, endpoint: str, *, has_labels: bool = False) -> bool:
        """Return whether the ledger has an endpoint's predictions from a writer's segment. If `has_labels`, return
        whether it has the endpoint's labels from this segment."""
        statement = self._sql.LABEL_PART_BY_SEGMENT if has_labels else self._sql.PREDICTION_PART_BY_SEGMENT
        return bool(self._query.read(PREDICTION_PARTS, statement, endpoint, writer, segment))

    def prediction_parts(self, endpoint: str, since: float = 0.0) -> list[PredictionPartRecord]:
        """Return the parts of an endpoint's prediction log that may have predictions from the time `since` on (Unix
        seconds), in the order in which they were added."""
        return self._query.read(PREDICTION_PARTS, self._sql.PREDICTION_PARTS_SINCE, endpoint, since)

    def newest_prediction_part(self, endpoint: str) -> PredictionPartRecord | None:
        """Return the part of an endpoint's prediction log that was added last, or None if there is none. Empty parts
        don't count."""
        return next(iter(self._query.read(PREDICTION_PARTS, self._sql.NEWEST_PREDICTION_PART, endpoint)), None)

    def label_parts(self, endpoint: str) -> list[PredictionPartRecord]:
        """Return the parts of an endpoint's prediction log that have labels, in the order in which they were added."""
        return self._query.read(PREDICTION_PARTS, self._sql.LABEL_PARTS_OF, endpoint)

    def label_logs(self) -> list[PredictionLogRow]:
        """Return how many labels the ledger has of each endpoint, sorted by endpoint."""
        return self._query.read(PREDICTION_LOGS, self._sql.LABEL_LOGS)

    def label_withdrawals(self, endpoint: str) -> list[WithdrawalRecord]:
        """Return the withdrawals of labels of an endpoint, the oldest first."""
        return self._query.read(WITHDRAWALS, self._sql.LABEL_WITHDRAWALS_OF, endpoint)

    def prediction_batches(self, endpoint: str, since: float = 0.0) -> list[PredictionBatchRow]:
        """Return the batches in an endpoint's prediction log that ended at the time `since` (Unix seconds) or later,
        the newest first."""
        return self._query.read(BATCHES, self._sql.PREDICTION_BATCHES, endpoint, since)

    def prediction_batch_logs(self) -> list[PredictionLogRow]:
        """Return, for each endpoint, the number of batches in its prediction log, the number of predictions in them,
        and their times; sorted by endpoint. Batches that belong to no endpoint come first, under an empty name."""
        return self._query.read(PREDICTION_LOGS, self._sql.PREDICTION_BATCH_LOGS)
