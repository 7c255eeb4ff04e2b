"""What happens on the machine that does the work: zygote, workers, attempts, the tracer. Begin with `worker`, then
`attempt`. Workers see the store, and neither ledger nor settings."""
