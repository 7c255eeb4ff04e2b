"""Runs: their events, the machine that follows from them, the driver that stores and acts. Begin with `events`, then
`machine.machine` and `driver.driver`. What the loop needs of the world are `ports`; values never enter."""
