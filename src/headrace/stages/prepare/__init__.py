"""Stages that prepare data for training."""

from __future__ import annotations

from headrace.facade import lazily

# Only type checkers read the imports below. At run time, each name is imported when it is first used.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from headrace.stages.prepare._clean.clean import Cleaned as Cleaned
    from headrace.stages.prepare._clean.clean import clean as clean
    from headrace.stages.prepare._clean.preparation import Preparation as Preparation
    from headrace.stages.prepare._clean.preparation import Prepared as Prepared
    from headrace.stages.prepare._clean.preparation import Step as Step
    from headrace.stages.prepare._clean.preparation import apply as apply
    from headrace.stages.prepare._clean.rules import Cast as Cast
    from headrace.stages.prepare._clean.rules import Clip as Clip
    from headrace.stages.prepare._clean.rules import Dates as Dates
    from headrace.stages.prepare._clean.rules import Deduplicate as Deduplicate
    from headrace.stages.prepare._clean.rules import Drop as Drop
    from headrace.stages.prepare._clean.rules import Fill as Fill
    from headrace.stages.prepare._clean.rules import Map as Map
    from headrace.stages.prepare._clean.rules import Normalise as Normalise
    from headrace.stages.prepare._clean.rules import Nulls as Nulls
    from headrace.stages.prepare._clean.rules import Numbers as Numbers
    from headrace.stages.prepare._clean.rules import Rename as Rename
    from headrace.stages.prepare._clean.rules import Replace as Replace
    from headrace.stages.prepare._clean.rules import Trim as Trim
    from headrace.stages.prepare._clean.rules import Units as Units
    from headrace.stages.prepare._clean.rules import Without as Without
    from headrace.stages.prepare._labels.label import Labelled as Labelled
    from headrace.stages.prepare._labels.label import label as label
    from headrace.stages.prepare._labels.labels import Judged as Judged
    from headrace.stages.prepare._labels.labels import labels as labels
    from headrace.stages.prepare._labels.labels import to_label as to_label
    from headrace.stages.prepare._split.split import Split as Split
    from headrace.stages.prepare._split.split import split as split
    from headrace.stages.prepare._tokenize.tokenize import Tokens as Tokens
    from headrace.stages.prepare._tokenize.tokenize import tokenize as tokenize
    from headrace.stages.prepare._tokenize.tokenizer import tokenizer as tokenizer
    from headrace.stages.prepare._transform import transform as transform

PLACES = {
    "Cast": "headrace.stages.prepare._clean.rules",
    "Cleaned": "headrace.stages.prepare._clean.clean",
    "Clip": "headrace.stages.prepare._clean.rules",
    "Dates": "headrace.stages.prepare._clean.rules",
    "Deduplicate": "headrace.stages.prepare._clean.rules",
    "Drop": "headrace.stages.prepare._clean.rules",
    "Fill": "headrace.stages.prepare._clean.rules",
    "Judged": "headrace.stages.prepare._labels.labels",
    "Labelled": "headrace.stages.prepare._labels.label",
    "Map": "headrace.stages.prepare._clean.rules",
    "Normalise": "headrace.stages.prepare._clean.rules",
    "Nulls": "headrace.stages.prepare._clean.rules",
    "Numbers": "headrace.stages.prepare._clean.rules",
    "Preparation": "headrace.stages.prepare._clean.preparation",
    "Prepared": "headrace.stages.prepare._clean.preparation",
    "Rename": "headrace.stages.prepare._clean.rules",
    "Replace": "headrace.stages.prepare._clean.rules",
    "Split": "headrace.stages.prepare._split.split",
    "Step": "headrace.stages.prepare._clean.preparation",
    "Tokens": "headrace.stages.prepare._tokenize.tokenize",
    "Trim": "headrace.stages.prepare._clean.rules",
    "Units": "headrace.stages.prepare._clean.rules",
    "Without": "headrace.stages.prepare._clean.rules",
    "apply": "headrace.stages.prepare._clean.preparation",
    "clean": "headrace.stages.prepare._clean.clean",
    "label": "headrace.stages.prepare._labels.label",
    "labels": "headrace.stages.prepare._labels.labels",
    "split": "headrace.stages.prepare._split.split",
    "to_label": "headrace.stages.prepare._labels.labels",
    "tokenize": "headrace.stages.prepare._tokenize.tokenize",
    "tokenizer": "headrace.stages.prepare._tokenize.tokenizer",
    "transform": "headrace.stages.prepare._transform",
}
__all__ = sorted(PLACES)  # noqa: PLE0605  it is a list, made from the one table of names
__getattr__ = lazily(__name__, PLACES)


def __dir__() -> list[str]:
    return __all__
