"""Runs side by side: how they differ in parameters, code, inputs and metrics. Begin with `gather`. What is equal in all
runs is left out, except numbers."""
