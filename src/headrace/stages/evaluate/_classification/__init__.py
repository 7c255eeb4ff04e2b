"""`evaluate.classification`. Begin with `classification`, the stage; `answers` has what the model and others say.
What regression judges by too lies above."""
