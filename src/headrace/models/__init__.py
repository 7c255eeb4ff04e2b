"""How a trained model answers, whatever library it is from. Begin with `model`, the interface and the choice of a kind,
then read `estimator`. Evaluation and prediction use models only through this interface. Nothing here knows of runs,
stages or stores, and a library of models is imported only when one of its models predicts."""
