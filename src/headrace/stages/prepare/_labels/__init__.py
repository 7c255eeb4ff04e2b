"""`prepare.label`, `to_label` and `labels`: labels from rules and from people. Begin with `label` or `labels`, the
stages. How far they agree is measured here, and never assumed."""
