"""The Open Inference Protocol: tensors in place of records. Begin with `protocol`. How bytes become rows is in
`tensors`. Nothing here asks a model or logs an answer: an endpoint does that, as it does for records."""
