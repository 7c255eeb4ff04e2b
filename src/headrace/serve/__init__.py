"""Serving: endpoints answer requests with registered models, and each answer is stored in the prediction log.

Begin with `app` for requests over HTTP, and with `predictions.log` for the log. Nothing here imports the ledger,
workers or the code that defines stages. What serving needs from them is declared here as protocols; `operate` passes in
objects that have these methods.
"""
