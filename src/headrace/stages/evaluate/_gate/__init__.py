"""The language of gates, and the stage `evaluate.gate`. Begin with `rules`, then `gate`.

`metrics.catalogue` finds the number that a gate asks for, by its name.
"""
