"""Ready-made stages: user code that we wrote. Begin with the package you need (`ingest`, `prepare`, `train`,
`evaluate`): each stage is in the file of its name. Ready-made stages know neither runs nor ledgers."""
