"""What is said where a server can't be started."""

from __future__ import annotations


class Missing(Exception):
    """A server isn't installed; the message says what to install."""
