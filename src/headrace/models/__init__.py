"""How a trained model answers, whatever library it is from. Begin with `model`, the interface and the choice of a kind,
then read `estimator`. Evaluation and prediction use models only in this way. Nothing here knows of runs, stages or
stores, and no library of models is imported before a model of it is asked."""
