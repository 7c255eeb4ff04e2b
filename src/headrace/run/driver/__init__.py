"""The drive loop: receive what happened, step the state machine, store in one transaction, then send. Begin with
`driver`, then read `steps`. The loop never sees values or users' code. The interfaces that it needs are declared in
`run.ports`."""
