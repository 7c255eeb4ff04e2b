"""What lets a worker outlive its driver: the run's next driver takes over the worker through its zygote. Begin with
`takeover`, which is the zygote's side; `successor` is the worker's side. Nothing here waits for a worker that is busy.
"""
