"""Code for tables that several ready-made stages share: columns and their types, DuckDB, parts, and increments. Begin
with `columns`. Code that only one stage needs is in that stage's package."""
