"""Tables as ready-made stages handle them: columns and their types, DuckDB, parts, increments. Begin with `columns`.
What a single stage does with a table stands in that stage's room."""
