"""What we believe marks a review as good (1) or bad (0), as labelling functions. None: this one can't tell.

Written from knowing how people write of films, before any of their scores was seen; none was changed after.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Row = Mapping[str, Any]

PRAISE = """
    amazing awesome beautiful beautifully best brilliant brilliantly captivating charming classic clever compelling
    delight delightful enjoy enjoyable enjoyed entertaining excellent exciting extraordinary fantastic favorite fun
    funny gem gorgeous great gripping heartfelt hilarious imaginative incredible insightful inspiring intelligent
    intriguing liked love loved lovely magnificent masterful masterpiece memorable moving outstanding perfect perfectly
    pleasure poignant powerful provocative remarkable refreshing riveting smart solid splendid strong stunning superb
    superbly sweet tender terrific thrilling touching treat unforgettable wonderful wonderfully wit witty
"""
BLAME = """
    amateurish annoying atrocious awful awfully bad badly bland boring bored cheap cheesy cliche cliched cliches clumsy
    confusing contrived crap crappy dire disappointed disappointing disappointment disaster dreadful dull embarrassing
    fails failed fails flat forgettable garbage generic horrendous horrible horribly idiotic incoherent inept insult
    joke junk lame lifeless mediocre mess messy mindless painful painfully pathetic pointless poor poorly predictable
    pretentious ridiculous rubbish shallow sloppy stupid stupidity tedious terrible terribly tiresome trash ugly
    uninspired uninteresting unfunny unoriginal unwatchable waste wasted weak worse worst
"""
DENIALS = """
    not no never hardly nothing isn't wasn't don't didn't doesn't can't couldn't won't aren't without
"""
NOT = frozenset(DENIALS.split())
GOOD, BAD = frozenset(PRAISE.split()), frozenset(BLAME.split())
WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
SENTENCE = re.compile(r"[.!?]+|<br />")


def words(text: str) -> list[str]:
    """The words of a text in lower case."""
    return WORD.findall(text.lower())


def balance(text: str) -> int:
    """How many more words of praise than of blame there are; "not good" counts as blame, "not bad" not at all."""
    found, total = words(text), 0
    for place, word in enumerate(found):
        denied = bool(NOT.intersection(found[max(0, place - 3) : place]))
        if word in GOOD:
            total += -1 if denied else 1
        elif word in BAD and not denied:
            total -= 1
    return total


def sign(number: float, least: float = 1) -> int | None:
    """1 or 0 by a number's sign, None where it is smaller than `least`."""
    return None if abs(number) < least else int(number > 0)


def tone(row: Row) -> int | None:
    """More praise than blame, or the other way round."""
    return sign(balance(row["text"]))


def last_words(row: Row) -> int | None:
    """How the last two sentences sound: there the verdict stands."""
    sentences = [each for each in SENTENCE.split(row["text"]) if each.strip()]
    return sign(balance(" . ".join(sentences[-2:]))) if len(sentences) > 2 else None


def first_words(row: Row) -> int | None:
    """How the first two sentences sound."""
    sentences = [each for each in SENTENCE.split(row["text"]) if each.strip()]
    return sign(balance(" . ".join(sentences[:2]))) if len(sentences) > 2 else None


NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
GRADE = re.compile(rf"\b(\d+(?:\.\d)?|{'|'.join(NUMBERS)})\s*(?:/|out of)\s*\b(10|ten|5|five|4|four)\b")


def grade(row: Row) -> int | None:
    """A grade out of ten, of five or of four: "8/10", "two out of four stars"."""
    found = GRADE.findall(row["text"].lower())
    if not found:
        return None
    given, most = (float(NUMBERS.index(each) if each in NUMBERS else each) for each in found[-1])
    share = given / most
    return None if 0.5 < share < 0.65 or share > 1 else int(share >= 0.65)


def phrases(*of: str) -> re.Pattern[str]:
    """A pattern that finds any of some."""
    return re.compile("|".join(f"(?:{each})" for each in of))


WARNS = phrases(
    r"avoid", r"stay away", r"skip (this|it)", r"don't (bother|waste|rent|watch|see)",
    r"do not (bother|waste|watch|see)", r"not (recommend|worth)",
)  # fmt: skip
URGES = phrases(
    r"highly recommend", r"must[- ]see", r"recommended", r"worth (seeing|watching|a look|the)", r"don't miss",
    r"go see", r"i recommend", r"see it",
)  # fmt: skip
LACKS = phrases(
    r"lack(s|ed|ing)? ", r"no (plot|story|point|sense|redeeming|chemistry)", r"too (long|much|many|slow)",
    r"far from", r"fails to", r"supposed to be", r"could have been", r"should have been", r"would have been",
    r"instead of", r"not enough", r"never (quite|really)", r"isn't (even|much|very)",
)  # fmt: skip
MOVES = phrases(
    r"one of the (best|finest|funniest|greatest)", r"well (done|made|acted|written|worth)",
    r"well-(acted|made|written|crafted)", r"(made|makes) me (laugh|cry|smile)", r"loved (it|this)", r"love this",
    r"great (film|movie|performance|acting|cast|story|job)", r"pleasantly surprised", r"on the edge", r"at its best",
    r"all ages", r"enjoyed (it|this)", r"still (hold|works)",
)  # fmt: skip
WASTES = phrases(
    r"waste of", r"wast(e|ed|ing) (your|my|their)", r"money back", r"hours? (of my life|back)", r"fell asleep",
    r"falling asleep", r"turned? it off", r"walk(ed)? out", r"worst (film|movie|thing)", r"so bad", r"at least",
    r"want my", r"only (good|redeeming)", r"the only thing",
)  # fmt: skip
WARM = """
    family life heart human beauty performances performance portrayal journey emotional score cinematography both always
    also portrait world young rare warm grace humor honest subtle
"""
COLD = """
    script plot acting budget dialogue effects nothing minutes even attempt supposed least why reason unfortunately
    instead barely tries trying video neither pretty either bunch ending
"""


def recommends(row: Row) -> int | None:
    """Tells others to see it, or not to."""
    text = row["text"].lower()
    if WARNS.search(text):
        return 0
    return 1 if URGES.search(text) else None


def lacks(row: Row) -> int | None:
    """Says what the film is short of."""
    return 0 if LACKS.search(row["text"].lower()) else None


def moved(row: Row) -> int | None:
    """Says what the film does to those who see it."""
    return 1 if MOVES.search(row["text"].lower()) else None


def wasted(row: Row) -> int | None:
    """Wants the time or the money back."""
    return 0 if WASTES.search(row["text"].lower()) else None


def marks(row: Row) -> int | None:
    """Asks and scoffs: question marks, and dots that trail off."""
    text = row["text"]
    return 0 if text.count("?") >= 2 or text.count("...") >= 3 else None


def dense(text: str, wanted: frozenset[str]) -> bool:
    """Return whether more than three words of a hundred are wanted ones."""
    found = words(text)
    return sum(word in wanted for word in found) / max(len(found), 20) >= 0.03


def warm(row: Row) -> int | None:
    """Words of people and of craft that come with praise more often than not."""
    return 1 if dense(row["text"], WARM_WORDS) else None


def cold(row: Row) -> int | None:
    """Words of excuse and of failing that come with blame more often than not."""
    return 0 if dense(row["text"], COLD_WORDS) else None


WARM_WORDS, COLD_WORDS = frozenset(WARM.split()), frozenset(COLD.split())
RULES: list[Callable[[Row], int | None]] = [
    tone, last_words, first_words, grade, recommends, lacks, moved, wasted, marks, warm, cold,
]  # fmt: skip
