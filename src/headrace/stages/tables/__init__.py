"""Tables as ready-made stages use them: columns and their types, DuckDB, parts, increments. Begin with `columns`. Code
that only one stage needs is in that stage's package."""
