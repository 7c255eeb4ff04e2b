"""Endpoints: which versions of a model answer, in which shares, the parts of the prediction log, and labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime

import msgspec
from blake3 import blake3
from msgspec.structs import replace

from headrace.errors import LedgerError, UsageError, listed
from headrace.spec.artifact import Ref, within
from headrace.spec.bundle import own_code_in
from headrace.spec.intent import is_alias
from headrace.spec.noun import UNREADABLE, Document, Noun
from headrace.spec.signature import Column, signature_in

MAIN = "production"
"""The name of the variant that gets what no other variant gets. It is also an alias of the version that it has."""
CANARY = "canary"
"""The name of the variant that gets a small share of the requests at first, unless it is given another name."""
SHADOW = "shadow"
"""What the shadow is called where variants are named."""
MOST_NAME = 200
"""How many characters the name of a column may have that tells whom or when an answer is about."""
MOST_PARTS = 10_000
"""How many parts of a prediction log one run reads at most: those of a week, if one server seals one each minute."""
TOLERANCE = 1e-9
"""How far the sum of shares may be from 1: numbers of the computer are rounded."""
PREDICTION_ID = "([0-9a-z]{12})-([0-9]{1,9})-([0-9]{1,12})-([0-9a-f]{16})"
"""The form of a prediction's id: its writer, its segment, its offset there, and 64 random bits."""
Label = bool | int | float | str
"""What really came of a prediction."""
MOST_LABEL_CHARACTERS = 1_000
"""How many characters a label that is a text may have."""
LARGEST_LABEL = (1 << 63) - 1
"""The largest whole number that may be a label."""
SOURCE = "feedback"
"""The source of labels for which none is given."""


class Variant(Noun, frozen=True):
    """A version of a model that answers a share of the requests. `version` is its number in the registry; `share` is
    from 0 to 1."""

    name: str
    version: int
    share: float


class Route(Document, frozen=True):
    """Where the requests of an endpoint go: to versions of the model that has the endpoint's name. One variant is
    called `production`, and the shares of all variants add up to 1.

    `shadow` is a version that gets a copy of each request, and whose answers are kept but never returned.

    `key` and `time` are the columns of a record that tell whom and when its answer is about, such as the customer and
    the day; None if no column tells it.
    """

    endpoint: str
    variants: tuple[Variant, ...]
    shadow: int | None = None
    key: str | None = None
    time: str | None = None

    def __post_init__(self) -> None:
        check_key_and_time(self.key, self.time)
        if "/" in self.endpoint:
            raise UsageError(
                f"an endpoint can't be called `{self.endpoint:.80}`, since its name is a part of its URL",
                hint="register the model under a name without `/`",
            )
        names = [variant.name for variant in self.variants]
        if MAIN not in names or len(set(names)) < len(names):
            raise UsageError(
                f"endpoint `{self.endpoint}` needs one variant `{MAIN}`, and each variant a name of its own",
                hint="name a variant once",
            )
        if any(not 0 <= variant.share <= 1 for variant in self.variants):
            raise UsageError(f"endpoint `{self.endpoint}`: a share is from 0 to 1", hint="0.1 is a tenth")
        total = math.fsum(variant.share for variant in self.variants)
        if abs(total - 1) > TOLERANCE:
            raise UsageError(
                f"endpoint `{self.endpoint}`: the shares add up to {total:g}, not to 1",
                hint=f"leave out the share of `{MAIN}`: it gets what no other variant gets",
            )

    @property
    def main(self) -> Variant:
        """The variant that gets what no other variant gets."""
        return next(variant for variant in self.variants if variant.name == MAIN)

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions that must be loaded for this route, each once."""
        shadow = () if self.shadow is None else (self.shadow,)
        return tuple(dict.fromkeys([*(variant.version for variant in self.variants), *shadow]))

    def variant(self, name: str) -> Variant | None:
        """Return the variant of this name, or None."""
        return next((variant for variant in self.variants if variant.name == name), None)

    def promoted(self, version: int) -> Route:
        """Return the route with another version as `production`. Variants that have this version end, since their share
        goes to it anyway; so does a shadow of it."""
        others = [each for each in self.variants if each.name != MAIN and each.version != version]
        return self._with(version, others, None if self.shadow == version else self.shadow)

    def sharing(self, name: str, version: int, share: float) -> Route:
        """Return the route with a variant that has this version and gets this share of the requests. `production` gets
        what is left.

        Raises:
            UsageError: the variant is `production`, or nothing is left for that.
        """
        if name == MAIN:
            raise UsageError(
                f"`{MAIN}` gets what no other variant gets, so it has no share of its own",
                hint=f"give the other variants their shares; `headrace promote` changes the version of `{MAIN}`",
            )
        if name == SHADOW or not is_alias(name):
            raise UsageError(
                f"a variant can't be called `{name:.80}`", hint="use letters, digits and `_ . -`, a letter first"
            )
        new = Variant(name=name, version=version, share=share)
        others = [new if each.name == name else each for each in self.variants if each.name != MAIN]
        return self._with(self.main.version, others if new in others else [*others, new], self.shadow)

    def without(self, name: str) -> Route:
        """Return the route without a variant. Its share goes to `production`.

        Raises:
            UsageError: there is no such variant, or it is `production`.
        """
        names = [each.name for each in self.variants if each.name != MAIN]
        if name not in names:
            there = [*names, *([SHADOW] if self.shadow is not None else [])]
            why = "can't be taken out alone" if name == MAIN else "isn't there"
            hint = f"it has only `{MAIN}`; `headrace retire {self.endpoint}` ends the endpoint itself"
            raise UsageError(
                f"endpoint `{self.endpoint}`: variant `{name:.80}` {why}",
                hint=f"its variants but `{MAIN}`: {listed(there)}" if there else hint,
            )
        others = [each for each in self.variants if each.name not in (MAIN, name)]
        return self._with(self.main.version, others, self.shadow)

    def shadowed(self, version: int | None) -> Route:
        """Return the route with another shadow, or with none."""
        return replace(self, shadow=version)

    def only(self, version: int) -> Route:
        """Return the route by which all requests go to one version, without other variants and without a shadow."""
        return self._with(version, [], None)

    def about(self, key: str | None, time: str | None) -> Route:
        """Return the route with other columns that tell whom and when an answer is about. None keeps a column."""
        return replace(self, key=self.key if key is None else key, time=self.time if time is None else time)

    def _with(self, version: int, others: Sequence[Variant], shadow: int | None) -> Route:
        left = 1 - math.fsum(each.share for each in others)
        if left < -TOLERANCE:
            raise UsageError(
                f"endpoint `{self.endpoint}`: the variants but `{MAIN}` would get {1 - left:g} of the requests",
                hint="a share is from 0 to 1, and all shares together are at most 1",
            )
        main = Variant(name=MAIN, version=version, share=min(1.0, max(0.0, left)))
        return replace(self, variants=(main, *others), shadow=shadow)


def check_key_and_time(key: str | None, time: str | None) -> None:
    """Check the names of the columns that tell whom and when an answer is about.

    Raises:
        UsageError: a name is empty or too long, or both are the same.
    """
    for what, name in (("key", key), ("time", time)):
        if name is not None and not 0 < len(name) <= MOST_NAME:
            raise UsageError(f"`{what}` is {name!r:.80}", hint="give the name of one column of the records")
    if key is not None and key == time:
        raise UsageError(
            f"`key` and `time` are both `{key:.80}`",
            hint="one column tells whom an answer is about, and another one when",
        )


def key_text(value: object) -> str:
    """Return a value of an endpoint's `key` as text. A number has the same text in each of its forms.

    >>> key_text(17), key_text(17.0), key_text("17"), key_text(date(2026, 1, 31))
    ('17', '17', '17', '2026-01-31')
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value.isoformat() if isinstance(value, date) else str(value)


def moment(value: str | date) -> datetime:
    """Return the time that a value of an endpoint's `time` tells, in UTC. A day is its first moment. A time without a
    zone counts as UTC.

    >>> moment("2026-01-31").isoformat(), moment("2026-01-31T12:00:00+01:00").isoformat()
    ('2026-01-31T00:00:00+00:00', '2026-01-31T11:00:00+00:00')

    Raises:
        ValueError: the text is no date or time of ISO 8601.
    """
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    try:
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError("the time in UTC is before the year 1, or after the year 9999") from error


def unservable(model: Ref, preparation: Ref | None) -> str | None:
    """Return why a model can't answer requests, if that can be told from its artifact; otherwise None."""
    if any(each.codec == "pickle" for each in within(model)):
        return "it is pickled, and reading it would run code"
    if preparation is not None and any(each.codec == "pickle" for each in within(preparation)):
        return "what it needs to prepare rows is pickled in part, and reading it would run code"
    if preparation is None and model.signature is None:
        return "it has no signature, so nobody knows what its records are"
    return None


def takes(model: Ref, preparation: Ref | None) -> tuple[Column, ...]:
    """Return the columns that the records for a model need, as far as its artifacts tell: the columns of its signature,
    or of that of its own code. What a preparation needs isn't known before it is loaded."""
    own = own_code_in(preparation)
    signature = own.signature if own is not None else None if preparation is not None else signature_in(model.signature)
    return () if signature is None else signature.takes


UNSERVABLE_HINT = (
    "serve models of scikit-learn, LightGBM or a network, without classes of your own inside, and register them with a"
    " signature (`signature=`)"
)


def sole(endpoint: str, version: int) -> Route:
    """Return the route by which all requests of an endpoint go to one version."""
    return Route(endpoint=endpoint, variants=(Variant(name=MAIN, version=version, share=1.0),))


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Route).decode


def encode_route(route: Route) -> str:
    """Return a route as JSON text."""
    return _encode(route).decode()


def decode_route(text: str) -> Route:
    """Return the route that `encode_route` wrote.

    Raises:
        LedgerError: the text is no route, or one that a newer Headrace wrote.
    """
    why = ""
    try:
        route = _decode(text)
        if route.form <= Route.FORM:
            return route
    except (*UNREADABLE, UsageError) as error:
        why = f": {error}"
    raise LedgerError(f"a route in the ledger can't be read{why}", hint="if a newer Headrace wrote it, install that")


def is_route(text: str) -> bool:
    """Return whether a text is a route that can be read."""
    try:
        decode_route(text)
    except LedgerError:
        return False
    return True


class Part(Noun, frozen=True):
    """A part of an endpoint's log: `count` predictions, or labels, that one writer logged into one segment, as the
    table `out` in the store. `first` and `last` are the times of the first and the last of them, in Unix seconds.

    Endpoint, writer and segment together identify a part.
    """

    endpoint: str
    writer: str
    segment: int
    out: Ref
    count: int
    first: float
    last: float


SALT_BYTES = 32
"""How many random bytes a salt has."""
CLOCKS_S = 600.0
"""How far the clocks of hosts may be apart, in seconds: requests that came up to this long after an erasure count as
older than it."""


_DIGITS = 24
"""How many hex digits of an id's digest are kept: an erasure may have a million of them."""


class Erasure(Noun, frozen=True):
    """The erasure of a person from an endpoint's log and from what was made of it.

    `columns` are the columns whose value tells whom a row is about. `digest` is the digest of this value with the
    random `salt` (hex digits), so that rows about the person are found in later imports too. Whoever has both, and a
    list of all possible values, can find out who it was: the digest hides a name, but not a short number.

    `at` is when the erasure was asked for, in Unix seconds.
    """

    id: str
    endpoint: str
    columns: tuple[str, ...]
    salt: str
    digest: str
    at: float
    why: str = ""

    @property
    def until(self) -> float:
        """Until when the person's requests are erased, in Unix seconds. Later ones are kept."""
        return self.at + CLOCKS_S

    def is_about(self, text: str) -> bool:
        """Return whether a value, as text, is that of the person."""
        return digest_of(text, self.salt) == self.digest

    def known(self, prediction: str) -> str:
        """Return the digest by which the id of an erased prediction is known."""
        return digest_of(prediction, self.salt)[:_DIGITS]


def digest_of(text: str, salt: str) -> str:
    """Return the digest of a value with a salt.

    >>> digest_of("7", "00" * 32) == digest_of("07", "00" * 32)
    False
    """
    return blake3(text.encode("utf-8", "surrogatepass"), key=bytes.fromhex(salt)).hexdigest()
