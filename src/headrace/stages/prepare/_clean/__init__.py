"""The stages `prepare.clean` and `prepare.apply`: rules that are applied to a table, and what the rules learned from
the table.

Begin with `clean`, the stage, then `steps`. A rule is data (`rules`), never a user's code.
"""
