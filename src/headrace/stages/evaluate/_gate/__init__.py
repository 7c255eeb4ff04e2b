"""The language of gates, and `evaluate.gate`. Begin with `rules`, then `gate`. What is asked for is known by name in
`metrics.catalogue`."""
