"""What runs inside a model process. Begin with `model_host`. Of a project's code, only the functions that a version has
enter (`own_code`), and nothing asks the ledger."""
