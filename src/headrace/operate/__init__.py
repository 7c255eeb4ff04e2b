"""What is done with a project: pipelines are planned, run, resumed and cancelled. Begin with `session`, which wires
ledger, store, backend and driver together. Nothing here prints."""
