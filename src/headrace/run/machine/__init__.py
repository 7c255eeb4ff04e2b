"""The state machine that computes what follows from a run's events. Begin with `machine`, which passes each event to
the part that handles it; then read `task` and `phases`, through which every task moves. Nothing here uses a clock, a
file, a socket or a random number."""
