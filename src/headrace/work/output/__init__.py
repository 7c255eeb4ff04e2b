"""What an attempt prints and logs: captured, secrets masked, written. Begin with `capture`. Values that a stage
returns go by `codec`."""
