"""Runs: their events, the state machine that computes what follows from the events, and the driver, which stores the
events and carries out what follows from them. Begin with `events`, then `machine.machine` and `driver.driver`. `ports`
declares the interfaces that the driver needs. This package never sees values, only references to values."""
