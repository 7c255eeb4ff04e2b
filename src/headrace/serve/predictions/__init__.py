"""The prediction log: every answer of an endpoint is on the host's disk before it is sent.

Begin with `log`. `segment` is one file of the log. Inputs and outputs of models are stored as bytes in JSON or
Arrow, never as objects of a user's class.
"""
