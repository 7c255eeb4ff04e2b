"""The read side of the ledger: runs, tasks, attempts, lineage, logged values, registered versions. Begin with `views`.
Nothing here writes."""
