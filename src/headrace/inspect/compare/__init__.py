"""Runs side by side: what differs in parameters, code, inputs and metrics. Begin with `compare`. What they have in
common is left out."""
