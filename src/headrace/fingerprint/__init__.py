"""Finds the code that a stage's function reaches, each piece with a digest: the code part of the task's key. Begin with
`fingerprint`, then read `loaded.walk`, which follows names from loaded objects. User code is only read here, never
called."""
