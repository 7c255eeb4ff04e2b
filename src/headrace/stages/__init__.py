"""Ready-made stages: user code that we wrote. Begin with the package of what you look for (`ingest`, `prepare`,
`train`, `evaluate`): a stage lies in the file of its name. They know neither runs nor ledgers."""
