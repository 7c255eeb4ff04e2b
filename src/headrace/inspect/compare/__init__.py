"""Runs side by side: what differs in parameters, code, inputs and metrics. Begin with `gather`. What they have in
common is left out."""
