"""What people and programs look at: runs, tasks, attempts, lineage, what was logged. Begin with `views`. Nothing here
writes."""
