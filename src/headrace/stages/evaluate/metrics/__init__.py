"""Metrics under counts of rows, with their intervals. Begin with `part`, then `intervals`. Definitions are scikit-
learn's."""
