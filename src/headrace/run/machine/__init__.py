"""The machine that says what follows from a run's events. Begin with `machine`, which says which event is whose; then
`task` and `phases`, through which every task moves. No clock, file, socket or chance ever enters."""
