"""What statements there are, in whatever dialect.

Made by `python -m headrace.ledger.database.queries`: don't edit.
"""

from __future__ import annotations

from typing import Protocol


class Statements(Protocol):
    """The text of the statements, each with its parameters in the order in which a dialect's module names them."""

    SCHEMA: int
    CREATE: tuple[str, ...]
    INSERT_RUN: str
    UPDATE_RUN: str
    HELD: str
    TAKE_RUN: str
    INSERT_EVENT: str
    PUT_TASK: str
    FORGET_TASKS: str
    PUT_RESULT: str
    PUT_BLOB: str
    ABSORB: str
    SIGNAL: str
    RESULT: str
    RUN_BY_ID: str
    NEXT_SEQ: str
    EVENTS_FROM: str
    EARLIER_RUNS: str
    INGREDIENTS: str
    INBOX: str
    CLAIMS: str
    TAKE_POOL: str
    POOL_EPOCH: str
    PUT_GRANT: str
    FORGET_GRANT: str
    FORGET_GRANTS: str
    CURSOR: str
    ADVANCE_CURSOR: str
    MOVE_CURSOR: str
    CURSOR_MOVES: str
    PUT_CURSOR: str
    ABOUT: str
    PUT_ABOUT: str
    PUT_METRIC: str
    PUT_LOGGED: str
    INHERIT_METRICS: str
    FORGET_METRICS: str
    FORGET_LOGGED: str
    METRICS: str
    LOGGED_OF: str
    LOGGED: str
    LOGGED_SINCE: str
    METRICS_BY_NAME: str
    METRIC_NAMES: str
    LOCK_REGISTRY: str
    ADD_VERSION: str
    PUT_VERSION: str
    POINT_VERSION: str
    ADD_PREPARATION: str
    POINT_ALIAS: str
    PUT_ALIAS: str
    FORGET_ALIAS: str
    VERSIONS: str
    VERSIONS_OF: str
    ALL_VERSIONS: str
    VERSION_OF: str
    ALIASES: str
    ALL_ALIASES: str
    NEWEST_RUN: str
    RUN_LINE: str
    RUNS_BY_PREFIX: str
    RUN_LINES: str
    RUN_LINES_OF: str
    RUN_IDS: str
    TASK_LINES: str
    FAILED_LINES: str
    TASK_ROW: str
    TASK_ROWS: str
    TASK_OUTS: str
    TASKS_BY_DIGEST: str
    RUNS_BY_BLOB: str
    RUN_ID: str
    RUN_LINE_BY_NUMBER: str
    LAST_OF_KIND: str
    TASK_NAMES: str
    TASK_STATES: str
    STAGE_LINES: str
    RUNNING_LINES: str
    HISTORY: str
    ALL_RUNS: str
    RUNNING_SINCE: str
    FORGET_EVENTS: str
    FORGET_BLOBS: str
    FORGET_INBOX: str
    FORGET_RUN: str
    FORGET_RESULT: str
    ADOPT_RESULT: str
    DOUBT_RESULT: str
    POINT_RESULT: str
    POINT_TASK: str
    POINT_EVENT: str
    FORGET_BLOB: str
    BLOB: str
    EVENT_SPAN: str
    RUN_ROW: str
    TASKS_FROM: str
    OUTS_FROM: str
    BLOBS_FROM: str
    RESULTS_FROM: str
    CURSORS_FROM: str
    RESULT_ROW: str
    CURSOR_ROW: str
    SIGNALS: str
