"""The stages `prepare.label`, `to_label` and `labels`: labels from rules and from people.

Begin with `label` or `labels`, the stages. The agreement of the labels is measured, and never assumed.
"""
