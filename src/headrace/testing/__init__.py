"""Test suites for implementations of Headrace's interfaces (backend, codec, ledger, store), which third parties can run
too, and fakes that pass these suites. Begin with `backend_contract`. The program itself never imports this package."""
