"""Stages that judge a model."""

from __future__ import annotations

from headrace.facade import lazily

# Type checkers read the imports below; a process that runs loads what it uses.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from headrace.stages.evaluate.classifying import Classification as Classification
    from headrace.stages.evaluate.classifying import classification as classification
    from headrace.stages.evaluate.gates import gate as gate
    from headrace.stages.evaluate.generating import Generation as Generation
    from headrace.stages.evaluate.generating import generation as generation
    from headrace.stages.evaluate.pairing import Paired as Paired
    from headrace.stages.evaluate.pairing import paired as paired
    from headrace.stages.evaluate.regressing import Regression as Regression
    from headrace.stages.evaluate.regressing import regression as regression

PLACES = {
    "Classification": "headrace.stages.evaluate.classifying",
    "Generation": "headrace.stages.evaluate.generating",
    "Paired": "headrace.stages.evaluate.pairing",
    "Regression": "headrace.stages.evaluate.regressing",
    "classification": "headrace.stages.evaluate.classifying",
    "gate": "headrace.stages.evaluate.gates",
    "generation": "headrace.stages.evaluate.generating",
    "paired": "headrace.stages.evaluate.pairing",
    "regression": "headrace.stages.evaluate.regressing",
}
__all__ = sorted(PLACES)  # noqa: PLE0605  a list it is, and there is one table of the names
__getattr__ = lazily(__name__, PLACES)


def __dir__() -> list[str]:
    return __all__
