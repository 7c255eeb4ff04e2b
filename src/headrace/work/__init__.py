"""The processes on the machine that does the work: zygote, workers and their attempts, the tracer. Begin with `worker`,
then read `attempt`. Workers can reach the store, but neither the ledger nor the settings."""
