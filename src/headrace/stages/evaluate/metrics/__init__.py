"""Metrics of resampled rows, with their intervals. Begin with `part`, then `watch.intervals`.

A resample is given as counts, which say how often each row is in the resample. Definitions of metrics are
scikit-learn's.
"""
