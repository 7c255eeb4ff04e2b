"""Opens the prediction log of a server, as the settings of its endpoints say."""

from __future__ import annotations

from collections.abc import Collection

from headrace.errors import listed
from headrace.inspect.endpoints.predictions import prediction_log
from headrace.inspect.endpoints.redaction import redaction_of
from headrace.project.project import Project
from headrace.serve.predictions.awaited import AwaitedLog
from headrace.serve.predictions.keeping import Keeping, Say


class PredictionLogs:
    """The prediction log of a server: one writer for all endpoints with the setting `log = "durable"`, and one for all
    with `log = "buffered"`.
    `names` are the endpoints that are served, or all if it is empty. It is used in one event loop.

    Raises:
        LogError: the log's folder can't be made.
    """

    def __init__(self, project: Project, names: Collection[str], say: Say) -> None:
        self._config = project.config
        self._say = say
        settings = [project.config.of_endpoint(name) for name in names or project.config.endpoint]
        modes = {each.log for each in (settings if names else [*settings, project.config.serve])} - {"off"}
        self._logs = {
            mode: AwaitedLog(prediction_log(project), is_buffered=mode == "buffered", say=say) for mode in sorted(modes)
        }

    def keeping(self, endpoint: str) -> Keeping:
        """Return how an endpoint logs its predictions. If some may get lost or aren't logged as they are, say so.

        Raises:
            ConfigError: the secret with which columns are hashed isn't set.
        """
        own = self._config.of_endpoint(endpoint)
        if own.log == "off":
            self._say(f"endpoint `{endpoint}` logs no predictions: its setting `log` is `off`")
            return Keeping(None)
        if own.log == "buffered":
            self._say(f"endpoint `{endpoint}` has a buffered log: a loss of power loses about the last second of it")
        redaction = redaction_of(own)
        for verb, names in (("drops", redaction.dropped), ("hashes", redaction.hashed)):
            if names:
                self._say(f"the log of endpoint `{endpoint}` {verb} {listed(sorted(names))}")
        return Keeping(
            self._logs[own.log],
            answers_unlogged=own.when_log_fails == "answer",
            sample=own.sample,
            redaction=redaction,
        )

    def close(self, within_s: float) -> bool:
        """Log what was given so far, and close all writers. Return whether all is on disk; if not, say why. Each writer
        takes at most `within_s` seconds and blocks the event loop: call it at the end."""
        closed = [log.close(within_s) for log in self._logs.values()]  # all of them, even if one takes too long
        return all(closed)
