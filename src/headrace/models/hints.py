"""What to do about rows that a model can't read, as hints of errors."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from headrace.errors import UsageError, listed, sentence

MOST_CLASSES = 5
"""The most classes to list in a hint."""
APPLIED = (
    "if `prepare.clean` made the training rows, `prepare.apply(table, cleaned.preparation)` prepares these rows too"
)
"""The hint for rows that aren't like those from which a model learned."""
UNITS = "`prepare.Units` reads numbers with units"
_LOOKED_AT = 100
"""The most values to read in order to find out whether texts are numbers."""
_GROUPED = re.compile(r"[-+]?[1-9][0-9]{0,2}(,[0-9]{2,3})*,[0-9]{3}([^0-9,][^,]*)?")
_BESIDE_NUMBERS = ("Sc", "Zs", "Zl", "Zp")
"""The Unicode categories of currency signs and spaces."""


def to_whole(frame: Any, names: Sequence[str]) -> str:
    """Return a hint with the steps that fill missing values in columns of a pandas frame.

    In a frame, nulls of numbers are NaN. `prepare.Fill` fills only nulls, so the steps begin with `prepare.Nulls`.
    """
    columns = names[0] if len(names) == 1 else tuple(names)
    how = "median" if all(frame[name].dtype.kind == "f" for name in names) else "most"
    steps = f"prepare.Nulls(columns={columns!r}, nan=True), prepare.Fill(columns={columns!r}, how={how!r})"
    return f"`prepare.clean(table, [{steps}])` fills them"


def to_numbers(names: Sequence[str]) -> str:
    """Return a hint with the step that reads text columns as numbers."""
    columns = names[0] if len(names) == 1 else tuple(names)
    return f"`prepare.clean(table, [prepare.Numbers(columns={columns!r})])` reads texts as numbers"


def to_applied(name: str, values: Iterable[Any]) -> str:
    """Return a hint on a column that holds texts, but held numbers when the model was trained."""
    return f"{APPLIED}; if not, {to_numbers([name])}" if are_numbers(values) else APPLIED


def are_numbers(values: Iterable[Any]) -> bool:
    """Return whether `prepare.Numbers` can read most of the first texts among `values`.

    >>> are_numbers(["1,234.50", "€ 12", None]), are_numbers(["48.4 C", "50 C"])
    (True, False)
    """
    read = [_is_number(each) for each in islice((each for each in values if isinstance(each, str)), _LOOKED_AT)]
    return 2 * sum(read) > len(read)


def _is_number(text: str) -> bool:
    """Return whether `prepare.Numbers` can read a text. The text's form decides: `prepare.Numbers` itself needs DuckDB,
    which may be missing."""
    bare = "".join([each for each in text if not (each.isspace() or unicodedata.category(each) in _BESIDE_NUMBERS)])
    if not bare.isascii() or ("," in bare and not _GROUPED.fullmatch(bare)):
        return False
    try:
        float(bare.replace(",", ""))
    except ValueError:
        return False
    return True


def to_codes(name: str, classes: Sequence[str]) -> str:
    """Return a hint with the steps that replace text classes by numbers."""
    codes = ", ".join(f"{value!r}: '{number}'" for number, value in enumerate(classes[:MOST_CLASSES]))
    more = ", ..." if len(classes) > MOST_CLASSES else ""
    steps = f"prepare.Map(columns={name!r}, values={{{codes}{more}}}), prepare.Cast(columns={name!r}, type='int64')"
    return f"`prepare.clean(table, [{steps}])` numbers them"


def asked(method: Callable[..., Any], frame: Any) -> Any:
    """Call a method of a model with the rows in `frame`, and return the result.

    Raises:
        UsageError: the method raised an error. The hint says what may be wrong with the rows.
    """
    try:
        return method(frame)
    except Exception as error:  # the model is the user's
        raise UsageError(f"the model can't predict these rows: {sentence(error)}", hint=_mend(error, frame)) from error


def _mend(error: Exception, frame: Any) -> str:
    """Return a hint on what to do about an error that a model raised when it predicted the rows in `frame`."""
    if any(each.__name__ == "NotFittedError" for each in type(error).__mro__):  # scikit-learn's, LightGBM's
        return "give the trained model, such as the field `model` of the result of `train.sklearn`"
    if hasattr(frame, "columns"):
        times = [name for name in frame.columns if str(frame[name].dtype).startswith(("datetime", "timedelta"))]
        if times:
            return f"`{times[0]}` holds times: give numbers, as in the rows that the model learned from"
        gaps = [name for name in frame.columns if frame[name].isna().any()]
        if gaps and "NaN" in str(error):
            return f"values are missing in {listed(gaps, 5)}: {APPLIED}; if not, {to_whole(frame, gaps[:5])}"
        texts = text_columns(frame)
        if texts and "string" in str(error):
            return f"`{texts[0]}` holds texts: {to_applied(texts[0], frame[texts[0]])}"
    return "give the columns that the model learned from, in the same types; `features=[...]` names them"


def text_columns(frame: Any) -> list[str]:
    """Return the names of a frame's columns of texts."""
    return [name for name in frame.columns if str(frame[name].dtype) in ("object", "str", "string")]
