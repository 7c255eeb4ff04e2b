"""What people see on a terminal: text, tables, progress. Begin with `terminal`. Nothing here reads a record or decides
anything."""
