"""The drive loop: hear, step the machine, store in one transaction, then send. Begin with `driver`, and then `steps`.
Values and users' code never enter; what the loop needs of the world are the ports of `run.ports`."""
