"""The rows that live between runs: cursors, versions of models and datasets, aliases and their moves, notices. `tables`
declares each of their tables once. The collector, archives, backups, the checker and replays go over these declarations
and name no table. Begin with `declaration`. Tables whose rows belong to single runs aren't declared here."""
