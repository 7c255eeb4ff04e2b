"""What code a stage's function reaches, each piece with a digest: the code part of its key. Begin with `fingerprint`,
then `loaded.walk`, which follows names from what is loaded. User code is read here, and never called."""
