"""What lives between runs: cursors, versions of models and datasets, aliases and their moves. `tables` declares each
table of it once. The collector, archives, backups, the checker and replays go over these declarations and name no
table. Begin with `declaration`. What belongs to a single run never enters."""
