"""The stage `evaluate.classification`. Begin with `classification`, the stage itself.

`answers` holds the predictions of the model and of those it is compared with. Code that regression uses too stands one
folder up.
"""
