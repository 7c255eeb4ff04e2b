"""Real servers for tests and benchmarks, started where they are installed: PostgreSQL, S3 (SeaweedFS)."""
