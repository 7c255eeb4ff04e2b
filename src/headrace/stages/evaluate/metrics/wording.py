"""How similar a text is to its references. Each row gets counts, and the scores of any set of rows follow from the sums
of these counts.

- Exact match and token F1 as in SQuAD (Rajpurkar et al. 2016): lower case, no punctuation, no articles.
- BLEU (Papineni et al. 2002) with n-grams of up to four tokens, tokens as in `mteval-v13a`, and zeros smoothed by
  halving, as in sacreBLEU (Post 2018).
- chrF (Popović 2015): n-grams of up to six characters. Recall has twice the weight of precision, as in sacreBLEU.
- ROUGE-L (Lin 2004): the longest common subsequence of words. Precision and recall have equal weight.

If a text has several references, the best one counts. The libraries return only scores, but for each bootstrap
resample, counts must be summed. So the counts are computed here, and tests compare the scores with those of sacreBLEU
and rouge-score.
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
    """The counts of one text.

    `exact`, `token_f1` and `rouge_l` are from 0 to 1. `bleu` has the matches of each order, the totals of each order,
    and then the lengths of the text and of the reference. `chrf` has, for each order, the number of n-grams in the
    text, in the reference, and in both.
    """

    exact: float
    token_f1: float
    rouge_l: float
    bleu: tuple[float, ...]
    chrf: tuple[float, ...]


def wording(text: str, references: Sequence[str]) -> Wording:
    """Return the counts of a text against its references (at least one).

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
    """Return a text in the form that is compared for an exact match."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def _overlap(mine: Sequence[str], theirs: Sequence[str]) -> float:
    same = sum((Counter(mine) & Counter(theirs)).values())
    if not mine or not theirs:
        return float(mine == theirs)
    return 2 * same / (len(mine) + len(theirs))


def _words(text: str) -> list[str]:
    return _WORDS.findall(text.lower())


def _subsequence(mine: Sequence[str], theirs: Sequence[str]) -> float:
    """Return the F1 of the longest common subsequence, computed on the bits of integers (Crochemore et al. 2001)."""
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
