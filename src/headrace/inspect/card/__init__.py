"""The card of a model, from the record alone. Begin with `facts`, the plain values that `gather` fills and `sections`
shows. Nobody adds anything by hand."""
