"""`prepare.clean` and `prepare.apply`: rules put to a table, and what they learned. Begin with `clean`, the stage,
then `steps`. A rule is data (`rules`), never code of a user."""
