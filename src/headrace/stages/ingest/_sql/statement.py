"""Finds the named parameters of a SQL query: `select * from flights where month <= :m`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Literal

from headrace.errors import DefinitionError
from headrace.spec.noun import Row

Dialect = Literal["sqlite", "postgresql", "other"]

_NAME = re.compile(r":([A-Za-z_]\w*)")
_TAG = re.compile(r"\$(?:[A-Za-z_]\w*)?\$")
_PLAIN = re.compile(r"[^'\"`\[:;/$\-]+|.", re.DOTALL)
_QUOTES = {"'": "a text", '"': "a name", "`": "a name"}


class Statement(Row, frozen=True):
    """One query, cut at its parameters.

    `texts` are the pieces between the parameters. `places` has, for each piece but the last, the name of the parameter
    that follows the piece.
    """

    texts: tuple[str, ...]
    places: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters, each once, in the order of their first use."""
        return tuple(dict.fromkeys(self.places))

    def written(self, place: Callable[[str], str]) -> str:
        """Return the query's text, with `place(name)` in place of each parameter."""
        pieces = [self.texts[0]]
        for name, text in zip(self.places, self.texts[1:], strict=True):
            pieces += [place(name), text]
        return "".join(pieces)

    def inside(self, before: str, after: str) -> Statement:
        """Return a query with this one inside it: `select count(*) from (` ... `) as q`.

        `after` starts on a new line, because this query may end with a comment.
        """
        texts = list(self.texts)
        texts[0] = before + texts[0]
        texts[-1] += "\n" + after
        return Statement(texts=tuple(texts), places=self.places)


def parse(query: str, dialect: Dialect) -> Statement:
    """Return a query cut at its parameters (`:name`). A `;` at the end is dropped.

    Text in quotes, in comments and in PostgreSQL's dollar quotes is skipped. Casts (`x::date`) and slices (`x[1:n]`)
    aren't parameters: a parameter's colon doesn't follow a letter, a digit or another colon.

    >>> parse("select a::text, ':x' from t where day <= :day -- :y", "postgresql").names
    ('day',)

    Raises:
        DefinitionError: a quote or comment has no end, or the text holds more than one statement.
    """
    return _Scan(query, dialect).statement()


def check_given(statement: Statement, given: Iterable[str], options: Iterable[str]) -> None:
    """Check that the names in `given` are exactly the query's parameters; `options` are option names of `ingest.sql`.

    Raises:
        DefinitionError: a parameter is missing, or a name in `given` is not a parameter.
    """
    found = set(given)
    for name in statement.names:
        if name not in found:
            hint = f"give it: `ingest.sql(url, query, {name}=...)`"
            if name in set(options):
                hint = f"`{name}` is an option of `ingest.sql`: call the parameter something else"
            raise DefinitionError(f"the query has a parameter `:{name}` that wasn't given", hint=hint)
    if extra := sorted(found - set(statement.names)):
        names = ", ".join(f"`:{each}`" for each in statement.names)
        raise DefinitionError(
            f"`{extra[0]}` was given, but is not a parameter of the query",
            hint=f"its parameters are {names}" if names else "a parameter is written `:name` in the query",
        )


class _Scan:
    """A scanner that goes once over a query's text."""

    def __init__(self, query: str, dialect: Dialect) -> None:
        self._text = query
        self._dialect = dialect
        self._at = 0

    def statement(self) -> Statement:
        texts, places, piece = [], [], ""
        while self._at < len(self._text):
            named = _NAME.match(self._text, self._at)
            if named and not re.match(r"[\w:]", self._text[self._at - 1 : self._at]):
                texts.append(piece)
                places.append(named[1])
                piece, self._at = "", named.end()
            elif self._text[self._at] == ";":
                self._check_end()
                break
            else:
                piece += self._token()
        return Statement(texts=(*texts, piece), places=tuple(places))

    def _token(self) -> str:
        """Return the next piece without parameters: a quote, a comment, or text up to the next special character."""
        start, sign = self._at, self._text[self._at]
        two = self._text[start : start + 2]
        if sign in _QUOTES:
            self._quote(sign)
        elif sign == "[" and self._dialect == "sqlite":
            self._until("]", "a name in `[`")
        elif two == "--":
            end = self._text.find("\n", start)
            self._at = len(self._text) if end < 0 else end
        elif two == "/*":
            self._comment()
        elif sign == "$" and self._dialect != "sqlite" and (tag := self._dollar_tag()):
            self._at += len(tag)
            self._until(tag, f"a text in `{tag}`")
        else:
            plain = _PLAIN.match(self._text, start)
            assert plain is not None
            self._at = plain.end()
        return self._text[start : self._at]

    def _quote(self, sign: str) -> None:
        """Skip a quoted text.

        Inside it, the doubled quote character stands for one such character. In PostgreSQL's `E''`, a backslash escapes
        the next character.
        """
        before = self._text[max(0, self._at - 2) : self._at]
        hides = sign == "'" and self._dialect != "sqlite" and re.fullmatch(r"(?:^|.*\W)[eE]", before, re.DOTALL)
        at = self._at + 1
        while at < len(self._text):
            if hides and self._text[at] == "\\":
                at += 2
            elif self._text[at] != sign:
                at += 1
            elif self._text[at + 1 : at + 2] == sign:
                at += 2
            else:
                self._at = at + 1
                return
        raise _endless(f"{_QUOTES[sign]} in `{sign}`")

    def _comment(self) -> None:
        """Skip a comment. Comments can be nested, except in SQLite."""
        depth = 0
        for each in re.compile(r"/\*|\*/").finditer(self._text, self._at):
            if each[0] == "*/":
                depth -= 1
            elif depth == 0 or self._dialect != "sqlite":
                depth += 1
            if depth == 0:
                self._at = each.end()
                return
        if self._dialect != "sqlite":
            raise _endless("a comment in `/*`")
        self._at = len(self._text)

    def _until(self, sign: str, what: str) -> None:
        end = self._text.find(sign, self._at)
        if end < 0:
            raise _endless(what)
        self._at = end + len(sign)

    def _dollar_tag(self) -> str | None:
        if re.match(r"[\w$]", self._text[self._at - 1 : self._at]):
            return None
        tag = _TAG.match(self._text, self._at)
        return tag[0] if tag else None

    def _check_end(self) -> None:
        """Raise DefinitionError if anything but comments and white space follows the `;`."""
        while self._at < len(self._text):
            token = self._token()
            if token.strip(" \t\r\n\f;") and not token.startswith(("--", "/*")):
                raise DefinitionError("there is something after the `;` of the query", hint="give one query per call")


def _endless(what: str) -> DefinitionError:
    return DefinitionError(f"{what} has no end in the query", hint="close it")
