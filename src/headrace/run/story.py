"""The story of a run: what its events say, gathered in one pass. Pages, logs, cards, lineage and views read it.

A task's row in the ledger holds the task's present state. The story also has what was traced, tried and reused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self

from msgspec import Struct, field

from headrace.run.duration import Duration
from headrace.run.events import (
    Approved,
    Event,
    Expired,
    Failed,
    Gone,
    Launched,
    Opened,
    Recalled,
    Rejected,
    Renewed,
    Reused,
    Submitted,
    Succeeded,
    Taken,
    Traced,
    Use,
)
from headrace.spec.artifact import Ref
from headrace.spec.bundle import Bundle
from headrace.spec.code import Code
from headrace.spec.graph import Node
from headrace.spec.stage import Stage


class Written(Struct):
    """A record of which attempts wrote which part of one worker's log.

    `spans` are attempts that reported where their output ends: (end in bytes, task, attempt). `turn` are the attempts
    that have not ended yet, in the order in which they write. `died` is the attempt during which the worker died, or
    None.
    """

    spans: list[tuple[int, str, int]] = []
    turn: list[tuple[str, int]] = []
    died: tuple[str, int] | None = None

    @property
    def rest(self) -> tuple[str, int] | None:
        """The attempt that wrote the rest of the log, after all spans, or None if there is no such attempt."""
        return self.turn[0] if self.turn else self.died


class Story(Struct, kw_only=True):
    """The facts that are in a run's events.

    `stages` (by `function`), `nodes` (by task) and `codes` (by digest) are those of the latest trace. `codes` holds the
    code of functions and classes that are arguments. `outs` are the outputs that tasks made or reused. `launched` are
    the attempts, without those that were taken back. `written` has one record for each worker. `regions` are those in
    which attempts were started. `renewed` is True if the run got new code. `pools` are the pools of the run's latest
    driver; `gone` are the pools that this driver lost. `asked` and `decided` are the approvals that tasks waited for,
    and how each wait ended. `authors` are the users who gave the run its code, the one who started it first.
    """

    opened: Opened | None = None
    bundle: Bundle | None = None
    stages: dict[str, Stage] = {}
    nodes: dict[str, Node] = {}
    codes: dict[str, Code] = {}
    outs: dict[str, Ref] = {}
    reused: list[Reused] = []
    launched: dict[tuple[str, int], Launched] = {}
    ended: list[Succeeded | Failed] = []
    written: dict[str, Written] = {}
    regions: set[str] = set()
    worked: Duration = field(default_factory=Duration)
    renewed: bool = False
    pools: tuple[str, ...] = ()
    gone: set[str] = set()
    asked: dict[tuple[str, str], Submitted] = {}
    decided: list[Approved | Rejected | Expired] = []
    authors: list[str] = []
    holder: str = ""

    @classmethod
    def of(cls, events: Iterable[Event]) -> Self:
        """Return the story of these events, which begin with the first event of the run."""
        story = cls()
        for event in events:
            story.hear(event)
        return story

    def hear(self, event: Event) -> None:
        """Add one event to the story."""
        self.worked.hear(event)
        match event:
            case Opened():
                self.opened, self.bundle, self.authors = event, event.bundle, [event.user]
            case Taken(pool=first, others=others):
                self.holder = event.holder
                self.pools, self.gone = (first, *(name for name, _ in others)), set()
                self.regions.update(filter(None, (event.region, *dict(others).values())))
            case Gone(pool=pool):
                self.gone.add(pool)
            case Renewed():
                self.bundle, self.renewed = event.bundle, True
                if self.holder not in self.authors:
                    self.authors.append(self.holder)
                for traced in (self.stages, self.nodes, self.codes):
                    traced.clear()
            case Traced():
                self.stages.update((stage.function, stage) for stage in event.stages)
                self.nodes.update((node.name, node) for node in event.nodes)
                self.codes.update((code.digest, code) for code in event.codes)
            case Reused():
                self.reused.append(event)
                self.outs[event.task] = event.out
            case Launched():
                self.launched[event.task, event.attempt] = event
                for worker in event.workers:
                    self.written.setdefault(str(worker), Written()).turn.append((event.task, event.attempt))
            case Succeeded():
                self.outs[event.task] = event.out
                self._end(event)
            case Failed():
                self._end(event)
            case Submitted():
                self.asked[event.task, event.key] = event
            case Approved() | Rejected() | Expired():
                self.decided.append(event)
            case Recalled(task=task, attempt=attempt):
                launched = self.launched.pop((task, attempt), None)  # it never began
                for worker in launched.workers if launched else ():
                    self.written[str(worker)].turn.remove((task, attempt))
            case _:
                pass

    def _end(self, event: Succeeded | Failed) -> None:
        """Note which part of its worker's log an attempt wrote.

        If the attempt failed and did not report where its output ends, the worker died during this attempt. There is
        one exception: a lost attempt that waited behind another attempt has printed nothing.
        """
        self.ended.append(event)
        attempt = event.task, event.attempt
        for log in self.written.values():
            if attempt in log.turn:
                is_first = log.turn[0] == attempt
                log.turn.remove(attempt)
                if event.log is not None:
                    log.spans.append((event.log.end, *attempt))
                elif isinstance(event, Failed) and (event.failure.kind != "lost" or (is_first and not log.died)):
                    log.died = attempt

    def has_made(self, task: str, key: str | None) -> bool:
        """Return whether an attempt of a task was launched under this key and succeeded."""
        return any(
            isinstance(event, Succeeded)
            and event.task == task
            and (launch := self.launched.get((task, event.attempt))) is not None
            and launch.key == key
            for event in self.ended
        )

    @property
    def origins(self) -> dict[str, str]:
        """Return for each reused task the run that made its output; an empty string means this run."""
        return {event.task: event.run for event in self.reused}

    def uses(self, task: str | None = None) -> Iterator[Use]:
        """Yield the resources that each attempt of a task used. If `task` is None, do this for all tasks."""
        for event in self.ended:
            if event.use is not None and task in (None, event.task):
                yield event.use
