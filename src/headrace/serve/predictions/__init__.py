"""The prediction log: every answer of an endpoint is on the host's disk before it leaves.

Start reading at `log.py`. `segment.py` is one file of the log. A prediction never leaves this room as an object of a
user's class: inputs and outputs are bytes in JSON or Arrow.
"""
