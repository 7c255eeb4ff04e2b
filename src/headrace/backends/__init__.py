"""Pools that attempts run on, each an implementation of `run.ports.Backend`. Begin with `local.backend`. A backend
starts what the driver asks for, and decides nothing."""
