"""The contracts of our seams, as tests that third parties can run, and the fakes that keep them. Begin with
`backend_contract`. The program never imports this."""
