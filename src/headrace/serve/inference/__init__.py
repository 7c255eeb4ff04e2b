"""The Open Inference Protocol: clients send tensors instead of records. Begin with `protocol`; `tensors` turns bytes
into rows. Nothing here sends rows to a model or logs answers: an endpoint does this, in the same way as for records."""
