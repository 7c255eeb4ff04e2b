"""Stages that judge a model."""

from __future__ import annotations

from headrace.facade import lazily

# Only type checkers read the imports below. At run time, each name is imported when it is first used.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from headrace.stages.evaluate._classification.classification import Classification as Classification
    from headrace.stages.evaluate._classification.classification import classification as classification
    from headrace.stages.evaluate._gate.gate import gate as gate
    from headrace.stages.evaluate._generation import Generation as Generation
    from headrace.stages.evaluate._generation import generation as generation
    from headrace.stages.evaluate._paired import Paired as Paired
    from headrace.stages.evaluate._paired import paired as paired
    from headrace.stages.evaluate._regression import Regression as Regression
    from headrace.stages.evaluate._regression import regression as regression

PLACES = {
    "Classification": "headrace.stages.evaluate._classification.classification",
    "Generation": "headrace.stages.evaluate._generation",
    "Paired": "headrace.stages.evaluate._paired",
    "Regression": "headrace.stages.evaluate._regression",
    "classification": "headrace.stages.evaluate._classification.classification",
    "gate": "headrace.stages.evaluate._gate.gate",
    "generation": "headrace.stages.evaluate._generation",
    "paired": "headrace.stages.evaluate._paired",
    "regression": "headrace.stages.evaluate._regression",
}
__all__ = sorted(PLACES)  # noqa: PLE0605  it is a list, and `PLACES` is the only table of the names
__getattr__ = lazily(__name__, PLACES)


def __dir__() -> list[str]:
    return __all__
