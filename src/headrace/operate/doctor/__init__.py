"""Whether machine, project, ledger, stores and pools are as they must be, each with what to do. Begin with `doctor`.
It mends nothing."""
