"""The processes on a machine where tasks run: the zygote, the workers with their attempts, and the tracer. Begin with
`worker`, then read `attempt`. Workers can reach the store, but neither the ledger nor the settings."""
