"""Finds all code that a stage's function reaches, and a digest of each piece. This code is one part of a task's key.
Begin with `fingerprint`, then read `loaded.walk`, which follows names from loaded objects. User code is only read here,
never called, except for the methods that give pickle the state of a notebook's objects."""
