"""`deploy.batch`: a model's answers for all rows of a table, delivered to a file or a database. Begin with `batch`, and
then read `scoring`. `parquet` and `database` deliver the answers, each answer exactly once."""
