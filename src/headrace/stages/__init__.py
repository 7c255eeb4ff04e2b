"""Ready-made stages: stages that come with Headrace. They are written like a user's own stages, and don't depend on
runs or ledgers. Begin with the package you need (`ingest`, `prepare`, `train`, `evaluate`): each stage is in the file
that has its name."""
