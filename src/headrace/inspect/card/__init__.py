"""The card of a model, made from the record alone. Begin with `facts`, the plain values that `gather` fills and
`sections` shows. Users add nothing to it."""
