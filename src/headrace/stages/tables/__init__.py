"""What ready-made stages need to work with tables: columns and their types, DuckDB, parts, and increments. Begin with
`columns`. Code that only one stage needs is in that stage's package."""
