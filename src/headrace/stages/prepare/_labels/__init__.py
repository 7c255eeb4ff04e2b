"""The stages `prepare.label`, `to_label` and `labels`: labels from rules and from people.

Begin with `label` or `labels`, the stages. How far the labels agree is measured, and never assumed.
"""
