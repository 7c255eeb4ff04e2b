"""The statistics and rules by which evaluations judge models. Begin with `intervals`.

All functions are pure: they take arrays and values, do no I/O and read no clock. Resamples are drawn from a given seed.
"""
