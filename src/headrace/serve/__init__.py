"""Serving: endpoints answer requests with registered models, and each answer is kept in the prediction log.

Start reading at `app.py` for what is asked over HTTP, and at `predictions/log.py` for what is kept. Nothing here
imports the ledger, workers or the code that defines stages: what serving needs of them is a port of its own, and the
ledger fits it by shape.
"""
