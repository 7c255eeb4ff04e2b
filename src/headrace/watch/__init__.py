"""The statistics and rules of judging, which evaluations use, and watches will. Begin with `intervals`.

All functions are pure: they take arrays and values, do no I/O and read no clock. Resamples are drawn from a given seed.
"""
