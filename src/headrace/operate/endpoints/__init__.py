"""Endpoints: changes where their requests go, answers these requests, seals the log of the answers, and merges
its parts. Everything that one server does is put together in `serving`."""
