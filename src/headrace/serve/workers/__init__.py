"""A server with several web workers: processes that answer requests on the same sockets.

Begin with `front`, which starts and ends the workers. How a worker answers a request doesn't belong here: a worker does
the same as a server that has only one process.
"""
