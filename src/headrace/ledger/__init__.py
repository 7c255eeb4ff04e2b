"""The durable record of runs. The driver that holds a run's lease writes the run's record, and everyone may read it.
Begin with `ledger`, then `run_ledger`. A row refers to an artifact by a `Ref`; only small values are stored in the row
itself."""
