"""Stages that make data fit to learn from."""

from __future__ import annotations

from headrace.facade import lazily

# Type checkers read the imports below; a process that runs loads what it uses.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from headrace.stages.prepare.cleaning import Cleaned as Cleaned
    from headrace.stages.prepare.cleaning import clean as clean
    from headrace.stages.prepare.people import Judged as Judged
    from headrace.stages.prepare.people import labels as labels
    from headrace.stages.prepare.people import to_label as to_label
    from headrace.stages.prepare.preparation import Preparation as Preparation
    from headrace.stages.prepare.preparation import Prepared as Prepared
    from headrace.stages.prepare.preparation import Step as Step
    from headrace.stages.prepare.preparation import apply as apply
    from headrace.stages.prepare.rules import Cast as Cast
    from headrace.stages.prepare.rules import Clip as Clip
    from headrace.stages.prepare.rules import Dates as Dates
    from headrace.stages.prepare.rules import Deduplicate as Deduplicate
    from headrace.stages.prepare.rules import Drop as Drop
    from headrace.stages.prepare.rules import Fill as Fill
    from headrace.stages.prepare.rules import Map as Map
    from headrace.stages.prepare.rules import Normalise as Normalise
    from headrace.stages.prepare.rules import Nulls as Nulls
    from headrace.stages.prepare.rules import Numbers as Numbers
    from headrace.stages.prepare.rules import Rename as Rename
    from headrace.stages.prepare.rules import Replace as Replace
    from headrace.stages.prepare.rules import Trim as Trim
    from headrace.stages.prepare.rules import Units as Units
    from headrace.stages.prepare.rules import Without as Without
    from headrace.stages.prepare.splitting import Split as Split
    from headrace.stages.prepare.splitting import split as split
    from headrace.stages.prepare.tokens import Tokens as Tokens
    from headrace.stages.prepare.tokens import tokenize as tokenize
    from headrace.stages.prepare.transformation import transform as transform
    from headrace.stages.prepare.vocabulary import tokenizer as tokenizer
    from headrace.stages.prepare.weak import Labelled as Labelled
    from headrace.stages.prepare.weak import label as label

PLACES = {
    "Cast": "headrace.stages.prepare.rules",
    "Cleaned": "headrace.stages.prepare.cleaning",
    "Clip": "headrace.stages.prepare.rules",
    "Dates": "headrace.stages.prepare.rules",
    "Deduplicate": "headrace.stages.prepare.rules",
    "Drop": "headrace.stages.prepare.rules",
    "Fill": "headrace.stages.prepare.rules",
    "Judged": "headrace.stages.prepare.people",
    "Labelled": "headrace.stages.prepare.weak",
    "Map": "headrace.stages.prepare.rules",
    "Normalise": "headrace.stages.prepare.rules",
    "Nulls": "headrace.stages.prepare.rules",
    "Numbers": "headrace.stages.prepare.rules",
    "Preparation": "headrace.stages.prepare.preparation",
    "Prepared": "headrace.stages.prepare.preparation",
    "Rename": "headrace.stages.prepare.rules",
    "Replace": "headrace.stages.prepare.rules",
    "Split": "headrace.stages.prepare.splitting",
    "Step": "headrace.stages.prepare.preparation",
    "Tokens": "headrace.stages.prepare.tokens",
    "Trim": "headrace.stages.prepare.rules",
    "Units": "headrace.stages.prepare.rules",
    "Without": "headrace.stages.prepare.rules",
    "apply": "headrace.stages.prepare.preparation",
    "clean": "headrace.stages.prepare.cleaning",
    "label": "headrace.stages.prepare.weak",
    "labels": "headrace.stages.prepare.people",
    "split": "headrace.stages.prepare.splitting",
    "to_label": "headrace.stages.prepare.people",
    "tokenize": "headrace.stages.prepare.tokens",
    "tokenizer": "headrace.stages.prepare.vocabulary",
    "transform": "headrace.stages.prepare.transformation",
}
__all__ = sorted(PLACES)  # noqa: PLE0605  a list it is, and there is one table of the names
__getattr__ = lazily(__name__, PLACES)


def __dir__() -> list[str]:
    return __all__
