"""Keeps ledger and stores in order: garbage collection, checks, replays, rebuilding. Begin with `gc`. All of it runs
beside drivers, under leases."""
