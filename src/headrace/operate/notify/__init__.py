"""Sends the notices of the outbox to people: by a command, by a webhook, or by both. Begin with `sender`. This package
doesn't decide when there is a notice, or what it says: the driver writes the notices (`run.projection`)."""
