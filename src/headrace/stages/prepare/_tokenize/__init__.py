"""The stages `prepare.tokenizer` and `prepare.tokenize`: texts as tokens. Begin with `tokenize`, the stage.

Nothing is ever downloaded.
"""
