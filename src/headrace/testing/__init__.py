"""Test suites for implementations of Headrace's interfaces (backend, codec, ledger, store), and fakes that pass these
suites. Third parties can run the suites on implementations of their own. Begin with `backend_contract`. The program
itself never imports this package."""
