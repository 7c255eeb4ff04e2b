"""The stage `prepare.split`: it splits a table into train, valid and test, and checks for leaks between the parts.

Begin with `split`, the stage, then `leaks`. No row is assigned to a part at random: the row's values decide on its
part.
"""
