"""The durable record of runs: written by the driver that holds a run's lease, read by everyone. Begin with `ledger`,
then `run_ledger`. Values never enter: artifacts are known by reference."""
