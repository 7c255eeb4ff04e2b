"""The machine that says what follows from a run's events, and what it is made of. Begin with `machine`, then `task`.
All of it is pure: no clock, file, socket or chance."""
