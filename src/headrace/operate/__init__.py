"""The operations on a project: plan, run, resume and cancel a pipeline, and upkeep. Begin with `session`, which
connects ledger, store, backend and driver. Nothing here prints."""
