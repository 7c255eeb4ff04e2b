"""The stage `evaluate.gate`, which checks rules on a report. Begin with `watch.rules`, then `gate`.

`metrics.catalogue` finds the number that a gate asks for, by its name.
"""
