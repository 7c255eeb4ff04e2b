"""The stages `prepare.clean`, which applies rules to a table, and `prepare.apply`, which applies the same rules to
other rows, with the values that the rules learned from that table.

Begin with `clean`, the stage, then `steps`. A rule is data (`rules`), never a user's code.
"""
