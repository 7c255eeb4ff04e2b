"""`deploy.batch`: a model's answers for all rows of a table, delivered to a file, a bucket or a database. Begin with
`batch`, and then read `scoring`. `parquet`, `bucket` and `database` deliver the answers, each answer exactly once."""
