"""What keeps ledger and stores in order: collecting, checking, replaying, rebuilding. Begin with `gc`. All of it works
beside drivers, under leases."""
