"""What an attempt prints and logs: it is captured, secrets are masked, and it is written. Begin with `capture`. Values
that a stage returns are saved by `codec`."""
