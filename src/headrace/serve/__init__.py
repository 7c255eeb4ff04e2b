"""Serving: endpoints answer requests with registered models, and each answer is kept in the prediction log.

Start reading at `predictions/log.py`. Nothing here imports the ledger, workers or the code that defines stages: what
serving needs of them is a port of its own, and the ledger fits it by shape.
"""
