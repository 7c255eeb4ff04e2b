"""The settings of `headrace.toml` for `headrace serve`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from headrace.project.section import Section
from headrace.spec.duration import seconds

FOREVER = "forever"
Handling = Literal["refuse", "take"]


class ServeSection(Section, frozen=True):
    """How many requests clients may send to the server of `headrace serve`, what it does with records that don't fit
    the model, and what it logs. The server reads its settings when it starts."""

    rate: Annotated[
        str | None,
        Meta(
            description="How many requests a client may send per second, minute or hour, such as `100/s`, `600/m` or "
            "`10/h`. Requests are counted for each token; without tokens, those of all clients are counted together. "
            "By default there is no limit."
        ),
    ] = None
    origins: Annotated[
        tuple[str, ...],
        Meta(
            description="The sites, such as `https://app.example`, whose pages may send requests from a browser and "
            "read the answers (CORS). Pages of the server itself always may."
        ),
    ] = ()
    unknown: Annotated[
        Handling,
        Meta(description="Fields that the model doesn't take. `refuse` refuses the request; `take` ignores them."),
    ] = "refuse"
    missing: Annotated[
        Handling,
        Meta(
            description="Fields that a record lacks. `refuse` refuses the request; `take` treats them as null, and "
            "takes nulls too, whatever `null` says."
        ),
    ] = "refuse"
    null: Annotated[
        Handling,
        Meta(
            description="Fields that are null. `refuse` refuses the request; `take` passes them to the preparation and "
            "the model, like nulls in a table."
        ),
    ] = "take"
    unseen: Annotated[
        Handling,
        Meta(
            description="Texts that are none of a column's known categories. `refuse` refuses the request; `take` "
            "passes them to the preparation and the model."
        ),
    ] = "take"
    memory_gib: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="The most memory that the process of one version of a model may take, in GiB; it is ended and "
            "started anew if it takes more. By default there is no limit."
        ),
    ] = None
    wait_s: Annotated[
        float,
        Meta(
            gt=0,
            le=10,
            description="How many seconds a request may have to wait until its model has answered the requests before "
            "it. If it would probably be more, the request is refused at once (429).",
        ),
    ] = 5.0
    log: Annotated[
        Literal["durable", "buffered", "off"],
        Meta(
            description="How predictions are logged. `durable`: each is on the disk before its answer is sent. "
            "`buffered`: each is written before its answer is sent, and synced to the disk within a second. `off`: "
            "predictions aren't logged."
        ),
    ] = "durable"
    when_log_fails: Annotated[
        Literal["refuse", "answer"],
        Meta(
            description="What happens if predictions can't be logged. `refuse` refuses the request; `answer` sends the "
            "answer without ids."
        ),
    ] = "refuse"
    sample: Annotated[
        float,
        Meta(
            gt=0, le=1, description="The share of requests that are logged, such as `0.1`. They are chosen at random."
        ),
    ] = 1.0
    keep: Annotated[
        str | float | None,
        Meta(
            description='How long predictions and labels are kept: seconds, or text such as "90d". `headrace gc` '
            'deletes older ones. By default they are kept forever, as with "forever".'
        ),
    ] = None
    drop: Annotated[
        tuple[str, ...],
        Meta(description="The columns of records that aren't logged. The model gets them, and the log doesn't."),
    ] = ()
    hash: Annotated[
        tuple[str, ...],
        Meta(
            description="The columns of records that are hashed in the log (HMAC-SHA256), with the secret that "
            "`hash_secret` names. Equal values have equal hashes."
        ),
    ] = ()
    hash_secret: Annotated[
        str | None,  # of any form: an error about its form would show a secret that somebody wrote here
        Meta(
            description="The environment variable with the secret for `hash`: a random text of at least 16 characters. "
            "The server needs it, and so do `headrace erase` and commands that match labels by key."
        ),
    ] = None

    @property
    def keep_s(self) -> float | None:
        """How many seconds predictions and labels are kept, or None if they are kept forever."""
        return None if self.keep is None or self.keep == FOREVER else seconds(self.keep, name="keep")


class EndpointSection(Section, frozen=True):
    """Settings of a single endpoint, which replace those in `[serve]`."""

    unknown: Annotated[Handling | None, Meta(description="As in `[serve]`, for this endpoint.")] = None
    missing: Annotated[Handling | None, Meta(description="As in `[serve]`, for this endpoint.")] = None
    null: Annotated[Handling | None, Meta(description="As in `[serve]`, for this endpoint.")] = None
    unseen: Annotated[Handling | None, Meta(description="As in `[serve]`, for this endpoint.")] = None
    memory_gib: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="As in `[serve]`, for each version of this endpoint.")
    ] = None
    wait_s: Annotated[
        Annotated[float, Meta(gt=0, le=10)] | None, Meta(description="As in `[serve]`, for this endpoint.")
    ] = None
    log: Annotated[
        Literal["durable", "buffered", "off"] | None, Meta(description="As in `[serve]`, for this endpoint.")
    ] = None
    when_log_fails: Annotated[
        Literal["refuse", "answer"] | None, Meta(description="As in `[serve]`, for this endpoint.")
    ] = None
    keep: Annotated[
        str | float | None,
        Meta(description='As in `[serve]`, for this endpoint. "forever" keeps all, whatever `[serve]` says.'),
    ] = None
    sample: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None, Meta(description="As in `[serve]`, for this endpoint.")
    ] = None
    drop: Annotated[
        tuple[str, ...] | None, Meta(description="As in `[serve]`, for this endpoint; `[]` drops nothing.")
    ] = None
    hash: Annotated[
        tuple[str, ...] | None, Meta(description="As in `[serve]`, for this endpoint; `[]` hashes nothing.")
    ] = None
