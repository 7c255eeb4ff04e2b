"""Sends the notices of the outbox to people: by a command, by a webhook, or by both. Begin with `sender`. What a notice
is about, and when there is one, is decided elsewhere: the driver writes notices (`run.projection`)."""
