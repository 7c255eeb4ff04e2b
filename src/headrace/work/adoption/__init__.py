"""Takeovers: a worker outlives its driver, because the run's next driver takes over the worker through the worker's
zygote. Begin with `takeover`, which is the zygote's side; `successor` is the worker's side. No code in this package
waits for a worker that is busy."""
