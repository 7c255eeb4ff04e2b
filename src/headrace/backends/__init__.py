"""The backends: the pools that attempts run on. Each one implements `run.ports.Backend`. Begin with `local.backend`. A
backend starts the workers that the driver asks for, and makes no decisions."""
