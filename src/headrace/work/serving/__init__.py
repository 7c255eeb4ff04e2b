"""The code that runs inside a model process. Begin with `model_host`. Of a project's code, only the functions that
belong to a version are loaded here (`own_code`). Nothing here uses the ledger."""
