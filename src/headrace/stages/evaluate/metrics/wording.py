"""How near a text comes to what was expected: per row, the counts from which scores of any set of rows follow.

- Exact match and token F1 as in SQuAD (Rajpurkar et al. 2016): lower case, no punctuation, no articles.
- BLEU (Papineni et al. 2002) of up to four tokens, tokens as `mteval-v13a` cuts them and zeros smoothed by halving, as
  sacreBLEU has it (Post 2018).
- chrF (Popović 2015): character n-grams up to six, recall counting twice, as sacreBLEU has it.
- ROUGE-L (Lin 2004): the longest common subsequence of words, precision and recall alike.

Of several references the best counts. The libraries give scores, not counts, and each resample of a bootstrap is a sum
of counts: so these are ours, and tests hold them to sacreBLEU's and rouge-score's numbers.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

TOKENS, CHARACTERS = 4, 6
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_WORDS = re.compile(r"[a-z0-9]+")
_13A = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)


class Wording(NamedTuple):
    """One row. `bleu` has matches and totals of each order, then the two lengths; `chrf` has, for each order, how many
    the text has, the reference has, and both have."""

    exact: float
    token_f1: float
    rouge_l: float
    bleu: tuple[float, ...]
    chrf: tuple[float, ...]


def wording(text: str, references: Sequence[str]) -> Wording:
    """Compare a text with its references, one at least.

    >>> wording("The cat.", ["a cat"]).exact, wording("the black cat", ["the cat"]).token_f1
    (1.0, 0.6666666666666666)
    """
    plain = normal(text)
    return Wording(
        exact=float(any(plain == normal(each) for each in references)),
        token_f1=max(_overlap(plain.split(), normal(each).split()) for each in references),
        rouge_l=max(_subsequence(_words(text), _words(each)) for each in references),
        bleu=_bleu(text, references),
        chrf=max((_chrf(text, each) for each in references), key=chrf_of),
    )


def normal(text: str) -> str:
    """Return a text as exact match compares it."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def _overlap(mine: Sequence[str], theirs: Sequence[str]) -> float:
    same = sum((Counter(mine) & Counter(theirs)).values())
    if not mine or not theirs:
        return float(mine == theirs)
    return 2 * same / (len(mine) + len(theirs))


def _words(text: str) -> list[str]:
    return _WORDS.findall(text.lower())


def _subsequence(mine: Sequence[str], theirs: Sequence[str]) -> float:
    """Return the F1 of the longest common subsequence, found by bits of whole numbers (Crochemore et al. 2001)."""
    if not mine or not theirs:
        return float(not mine and not theirs)
    places: dict[str, int] = {}
    for place, word in enumerate(mine):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(mine)) - 1
    row = every
    for word in theirs:
        found = row & places.get(word, 0)
        row = ((row + found) | (row - found)) & every
    common = len(mine) - row.bit_count()
    return 2 * common / (len(mine) + len(theirs))


def _bleu(text: str, references: Sequence[str]) -> tuple[float, ...]:
    mine, theirs = _tokens(text), [_tokens(each) for each in references]
    matches, totals = [], []
    for order in range(1, TOKENS + 1):
        own = _grams(mine, order)
        most: Counter[tuple[str, ...]] = Counter()
        for each in theirs:
            most |= _grams(each, order)
        matches.append(float(sum((own & most).values())))
        totals.append(float(sum(own.values())))
    length = min((len(each) for each in theirs), key=lambda each: (abs(each - len(mine)), each))
    return (*matches, *totals, float(len(mine)), float(length))


def _tokens(text: str) -> list[str]:
    text = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for name, sign in (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")):
        text = text.replace(name, sign)
    text = f" {text} "
    for pattern, spaced in _13A:
        text = pattern.sub(spaced, text)
    return text.split()


def _grams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[start : start + order]) for start in range(len(tokens) - order + 1))


def _chrf(text: str, reference: str) -> tuple[float, ...]:
    mine, theirs = "".join(text.split()), "".join(reference.split())
    found: list[float] = []
    for order in range(1, CHARACTERS + 1):
        own, other = (
            Counter(each[start : start + order] for start in range(len(each) - order + 1)) for each in (mine, theirs)
        )
        found += [float(sum(own.values())), float(sum(other.values())), float(sum((own & other).values()))]
    return tuple(found)


def chrf_of(counts: Sequence[float]) -> float:
    """Return the chrF of counts, from 0 to 100."""
    precision, recall, orders = 0.0, 0.0, 0
    for order in range(CHARACTERS):
        mine, theirs, both = counts[3 * order : 3 * order + 3]
        if mine > 0 and theirs > 0:
            precision, recall, orders = precision + both / mine, recall + both / theirs, orders + 1
    if not orders or not precision + recall:
        return 0.0
    precision, recall = precision / orders, recall / orders
    return 100 * 5 * precision * recall / (4 * precision + recall)
