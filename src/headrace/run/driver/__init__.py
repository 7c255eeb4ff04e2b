"""The drive loop: receive what happened, step the machine, store in one transaction, then send. Begin with
`driver`, then read `steps`. Values and users' code never enter. What the loop needs from outside are the
interfaces in `run.ports`."""
