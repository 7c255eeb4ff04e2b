"""The drive loop: hear, step the machine, store in one transaction, then send. Begin with `driver`. What it needs of
the world are the ports of `run.ports`."""
