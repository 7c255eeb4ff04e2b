"""Keeps ledger and stores in order: garbage collection, checks, replays, rebuilding. Begin with `gc`. All of this may
run while drivers work, protected by leases."""
