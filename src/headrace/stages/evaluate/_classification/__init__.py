"""The stage `evaluate.classification`. Begin with `classification`, the stage itself.

`answers` has the predictions of the judged model, of the baseline and of the previous version. Code that
`evaluate.regression` uses too is in the package `evaluate`.
"""
