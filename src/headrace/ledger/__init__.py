"""The durable record of runs. The driver that holds a run's lease writes the run's record, and everyone may read it.
Begin with `ledger`, then `run_ledger`. Values are never stored here: artifacts are known by reference."""
