"""Endpoints: changes where their requests go, answers these requests, and seals the log of the answers. Everything that
one server does is put together in `serving`."""
