"""The language of gates: `AUC >= 0.7 and worst-slice gap <= 0.1 with 95% confidence`.

- rule: comparisons joined by `or`, `and` (which binds closer) and parentheses
- comparison: METRIC, then one of `>=`, `>`, `<=`, `<`, then BOUND
- BOUND: a number, a percentage, `baseline` or `previous`
- METRIC: words, which may include `by COLUMN` or `of METRIC`; `backticks` hold a column of any name
- `with N% confidence`: applies to all comparisons before it, back to the previous `with` or the opening parenthesis
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from typing import NamedTuple

from msgspec.structs import replace

from headrace.errors import UsageError
from headrace.spec.noun import Noun


class Comparison(Noun, frozen=True):
    """A comparison of a metric with a bound.

    If the bound is another model's metric, `against` is `baseline` or `previous`, and `bound` is 0. `confidence` is a
    share from 0.5 to 1, or None if only the value is compared. `is_percentage` is whether the bound was written as a
    percentage.
    """

    metric: str
    operator: str
    bound: float
    against: str = ""
    confidence: float | None = None
    is_percentage: bool = False

    def __str__(self) -> str:
        words = f"{self.metric} {self.operator} {self.against or f'{self.bound:.12g}'}"
        return words if self.confidence is None else f"{words} with {self.confidence * 100:g}% confidence"


class Every(Noun, frozen=True):
    """A rule that holds if all of its parts hold."""

    rules: tuple[Rule, ...]

    def __str__(self) -> str:
        return " and ".join(f"({each})" if isinstance(each, Either) else str(each) for each in self.rules)


class Either(Noun, frozen=True):
    """A rule that holds if at least one of its parts holds."""

    rules: tuple[Rule, ...]

    def __str__(self) -> str:
        return " or ".join(str(each) for each in self.rules)


Rule = Comparison | Every | Either


def comparisons(rule: Rule) -> Iterator[Comparison]:
    """Yield the comparisons of a rule, in order."""
    if isinstance(rule, Comparison):
        yield rule
    else:
        for each in rule.rules:
            yield from comparisons(each)


def parse(text: str) -> Rule:
    """Return the rule that a text stands for.

    >>> str(parse("AUC >= 0.7 and worst-slice gap <= 10% with 95% confidence"))
    'AUC >= 0.7 with 95% confidence and worst-slice gap <= 0.1 with 95% confidence'

    Raises:
        UsageError: the text can't be read. The error marks the place in the text.
    """
    if not isinstance(text, str):
        raise UsageError(f"a gate is a text, and this is {text!r}", hint=f"write a rule, such as {EXAMPLE}")
    if not text.strip():
        raise UsageError("the gate is empty", hint=f"write a rule, such as {EXAMPLE}")
    reader = _Reader(text, _tokens(text))
    rule = reader.either()
    if reader.here.kind != "end":
        raise reader.error("`and`, `or` or the end")
    return rule


EXAMPLE = "`AUC >= 0.7 and worst-slice gap <= 0.1 with 95% confidence`"
OTHERS = ("baseline", "previous")
DEEPEST = 50
_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<operator>>=|<=|>|<|≥|≤|==|=|!=)|(?P<open>\()|(?P<close>\))"
    r"|(?P<number>[-+]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][-+]?\d++)?(?![\w.]))(?P<percent>\s*%)?"
    r"|(?P<quoted>`[^`]+`)|(?P<word>[^\s()<>=!`%≥≤]+)"
)
_KEYS = ("and", "or", "with")


class _Token(NamedTuple):
    kind: str
    text: str
    start: int


def _tokens(text: str) -> list[_Token]:
    found, place = [], 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            odd = text[place]
            raise _at(text, place, "this backtick is not closed" if odd == "`" else f"`{odd}` is not expected here")
        kind = match.lastgroup or ""
        kind = "number" if kind == "percent" else kind
        if kind != "space":
            word = match.group()
            found.append(_Token(word.lower() if kind == "word" and word.lower() in _KEYS else kind, word, place))
        place = match.end()
    return [*found, _Token("end", "", len(text))]


class _Reader:
    """A parser that reads tokens from left to right. A method that reads a rule stops after the rule's last token."""

    def __init__(self, text: str, tokens: list[_Token]) -> None:
        self.text, self.tokens, self.place, self.depth = text, tokens, 0, 0

    @property
    def here(self) -> _Token:
        return self.tokens[self.place]

    def next(self) -> _Token:
        self.place += 1
        return self.tokens[self.place - 1]

    def either(self) -> Rule:
        """Return the rule up to the closing parenthesis or the end of the text.

        A confidence applies to all earlier comparisons that have no confidence yet.
        """
        parts: list[list[Rule]] = [[self.one()]]
        told: float | None = self.confidence()
        since = 0 if told is None else self._spread(parts, 0, told)
        while self.here.kind in ("and", "or"):
            if self.next().kind == "or":
                parts.append([])
            parts[-1].append(self.one())
            told = self.confidence()
            if told is not None:
                since = self._spread(parts, since, told)
        rules = [every[0] if len(every) == 1 else Every(rules=tuple(every)) for every in parts]
        return rules[0] if len(rules) == 1 else Either(rules=tuple(rules))

    def _spread(self, parts: list[list[Rule]], since: int, level: float) -> int:
        """Set the confidence `level` on the rules in `parts`, except on the first `since` of them. Return how many
        rules all lists in `parts` hold together."""
        count = 0
        for every in parts:
            for place, rule in enumerate(every):
                if count >= since:
                    every[place] = _sure(rule, level)
                count += 1
        return count

    def one(self) -> Rule:
        if self.here.kind != "open":
            return self.comparison()
        opened = self.next()
        self.depth += 1
        if self.depth > DEEPEST:
            raise _at(self.text, opened.start, "there are too many parentheses")
        rule = self.either()
        if self.here.kind != "close":
            raise _at(self.text, opened.start, "this parenthesis is not closed")
        self.next()
        self.depth -= 1
        return rule

    def comparison(self) -> Comparison:
        words = []
        while self.here.kind in ("word", "quoted", "number"):
            token = self.next()
            words.append(token.text.strip("`") if token.kind == "quoted" else token.text)
        if len(words) == 1 and self.tokens[self.place - 1].kind == "number" and self.here.kind == "operator":
            raise _at(self.text, self.tokens[self.place - 1].start, "write the metric first, then the number")
        if not words or (len(words) == 1 and self.tokens[self.place - 1].kind == "number"):
            raise self.error("the name of a metric")
        if self.here.kind != "operator":
            raise self.error("`>=`, `>`, `<=` or `<`")
        sign = self.next()
        operator = {"≥": ">=", "≤": "<="}.get(sign.text, sign.text)
        if operator not in (">=", ">", "<=", "<"):
            raise _at(self.text, sign.start, f"a measured number can't be compared by `{sign.text}`; use `>=` or `<=`")
        metric = " ".join(words)
        if self.here.kind == "word" and self.here.text.lower() in OTHERS:
            return Comparison(metric=metric, operator=operator, bound=0.0, against=self.next().text.lower())
        if self.here.kind != "number":
            raise self.error("a number, `baseline` or `previous`")
        bound = self.next().text
        return Comparison(metric=metric, operator=operator, bound=_number(bound), is_percentage=bound.endswith("%"))

    def confidence(self) -> float | None:
        if self.here.kind != "with":
            return None
        self.next()
        if self.here.kind != "number":
            raise self.error("a percentage, as in `with 95% confidence`")
        token = self.next()
        level = _number(token.text)
        if not 0.5 <= level < 1:
            raise _at(self.text, token.start, f"a confidence of `{token.text}` makes no sense; `95%` is usual")
        if self.here.kind != "word" or self.here.text.lower() != "confidence":
            raise self.error("`confidence`")
        self.next()
        return level

    def error(self, expected: str) -> UsageError:
        found = f"`{self.here.text}` stands" if self.here.text else "it ends"
        return _at(self.text, self.here.start, f"{found} where {expected} is expected")


def _sure(rule: Rule, level: float) -> Rule:
    """Return the rule with the confidence `level` in each comparison that has no confidence yet."""
    if isinstance(rule, Comparison):
        if rule.confidence is not None:
            return rule
        return replace(rule, confidence=level)
    return type(rule)(rules=tuple(_sure(each, level) for each in rule.rules))


def _number(text: str) -> float:
    if text.endswith("%"):  # as a decimal: 0.7 / 100 in floats is not 0.007, and a value may be exactly 0.007
        digits = text.rstrip("%").rstrip()
        with suppress(ArithmeticError):  # numbers beyond the range of a decimal are 0 or infinite as a float anyway
            return float(Decimal(digits) / 100)
        return float(digits)
    return float(text)


def _at(text: str, place: int, problem: str) -> UsageError:
    line = " ".join(text.split("\n"))
    return UsageError(f"the gate can't be read: {problem}\n  {line}\n  {' ' * place}^", hint=f"a rule reads {EXAMPLE}")
