"""`prepare.split`: train, valid and test, and whether one leaks into another. Begin with `split`, the stage, then
`leaks`. Nothing here draws at random: a row's part follows from its key."""
