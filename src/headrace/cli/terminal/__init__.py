"""Output for people at a terminal: text, tables, progress. Begin with `terminal`. These modules show values; they make
no decisions."""
