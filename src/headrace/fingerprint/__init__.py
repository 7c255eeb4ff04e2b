"""Finds all code that a stage's function reaches, and computes a digest of each piece. This code is one part of a
task's key. Begin with `fingerprint`, then read `loaded.walk`, which follows names from loaded objects. User code is
only read here and never called, with one exception: the methods that pickle calls to get the state of a notebook's
objects."""
