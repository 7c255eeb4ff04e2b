"""The drive loop: receive what happened, step the state machine, store in one transaction, then send. Begin with
`driver`, then read `steps`. Values and users' code never enter. The interfaces in `run.ports` declare what the loop
needs from outside."""
