"""The durable record of runs: a run's driver, which holds its lease, writes it; everyone reads it. Begin with `ledger`,
then `run_ledger`. Values are never stored here: artifacts are known by reference."""
