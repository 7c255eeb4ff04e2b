"""Runs: their events, the state machine that computes what follows from them, and the driver that stores events and
acts. Begin with `events`, then `machine.machine` and `driver.driver`. `ports` declares what the driver needs from
outside. Values never enter this package, only references to them."""
