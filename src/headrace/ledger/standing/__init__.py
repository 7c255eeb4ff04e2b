"""What lives between runs: cursors, versions of models and datasets, aliases. Each table of it is declared once, in
`tables`; the collector, archives, backups, the checker and replays go over these declarations and name no table. Begin
with `declaration`. What belongs to a single run never enters."""
