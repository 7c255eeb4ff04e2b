"""What runs inside a model process. Begin with `model_host`. No user code enters here, and nothing asks the ledger."""
