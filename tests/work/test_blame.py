"""What a stage's code raised, as a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.errors import DataError, HeadraceError, NotFoundError, SourceError, UsageError
from headrace.work.failure import failure_of


def wrapped(cause: BaseException) -> HeadraceError:
    error = UsageError("the objective failed")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "lasting"),
    [
        (UsageError("there is no column `z`"), True),
        (DataError("the target has one class"), True),
        (wrapped(DataError("the target has one class")), True),
        (wrapped(ConnectionError("the service is away")), False),
        (NotFoundError("there is no model `delays`"), False),
        (SourceError("the database is away"), False),
        (ValueError("the user's"), False),
    ],
)
def test_only_what_headrace_itself_finds_wrong_lasts(error: BaseException, lasting: bool) -> None:
    failure = failure_of(error, Path("bundle"))
    assert (failure.kind, failure.lasting) == ("user", lasting)
