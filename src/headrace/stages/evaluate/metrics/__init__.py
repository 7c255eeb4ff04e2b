"""Metrics of resampled rows, with their intervals. Begin with `part`, then `intervals`.

A resample is given as counts: how often each row is in it. Definitions of metrics are scikit-learn's.
"""
