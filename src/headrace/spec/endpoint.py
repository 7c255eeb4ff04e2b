"""Endpoints: which versions of a model answer, in which shares, the parts of the prediction log, and labels."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

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
"""The name of the variant that gets all requests that no other variant gets. An alias of the same name points at its
version."""
CANARY = "canary"
"""The name of a variant that gets a share of the requests, if the user doesn't choose another name."""
SHADOW = "shadow"
"""The name of the shadow in commands that take the name of a variant."""
MOST_NAME = 200
"""The largest length, in characters, of the name of a `key` or `time` column."""
MOST_PARTS = 10_000
"""The largest number of parts of a prediction log that one run reads. A server that seals a part each minute makes
about as many in a week."""
TOLERANCE = 1e-9
"""How far the sum of shares may be from 1, because of rounding."""
PREDICTION_ID = "([0-9a-z]{12})-([0-9]{1,9})-([0-9]{1,12})-([0-9a-f]{16})"
"""The form of a prediction's id: its writer, its segment, its offset in the segment, and 64 random bits."""
_LARGEST_EXPONENT = 400
"""A decimal with a larger exponent keeps it as text, because clients can send `1E999999999`, and without an exponent
that would take a gigabyte. All floats have smaller exponents."""
_WITH_POINT = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+")
Label = bool | int | float | str
"""The type of a label's value, which says what really came of a prediction."""
MOST_LABEL_CHARACTERS = 1_000
"""The largest length, in characters, of a label that is a text."""
LARGEST_LABEL = (1 << 63) - 1
"""The largest whole number that may be a label."""
SOURCE = "feedback"
"""The source of a label if the client names no source."""


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

    `key` is the column of a record that says whom the answer is about, such as the customer. `time` is the column that
    says which time the answer is about, such as the day. None if no column says it.
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
                hint=f"add the variant `{MAIN}`, or leave out a variant whose name is there twice",
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
        """Return the route with `version` as `production`. If another variant or the shadow has the same version, it is
        taken out of the route."""
        others = [each for each in self.variants if each.name != MAIN and each.version != version]
        return self._with(version, others, None if self.shadow == version else self.shadow)

    def sharing(self, name: str, version: int, share: float) -> Route:
        """Return the route with a variant of this name, version and share of the requests. `production` gets the rest.

        Raises:
            UsageError: a variant can't have this name or this share, or the shares would add up to more than 1.
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
            why = "can't be ended alone" if name == MAIN else "doesn't exist"
            hint = f"its only variant is `{MAIN}`; `headrace retire {self.endpoint}` ends the endpoint itself"
            raise UsageError(
                f"endpoint `{self.endpoint}`: variant `{name:.80}` {why}",
                hint=f"its variants besides `{MAIN}`: {listed(there)}" if there else hint,
            )
        others = [each for each in self.variants if each.name not in (MAIN, name)]
        return self._with(self.main.version, others, self.shadow)

    def shadowed(self, version: int | None) -> Route:
        """Return the route with another shadow, or with none."""
        return replace(self, shadow=version)

    def only(self, version: int) -> Route:
        """Return the route that sends all requests to one version, without other variants and without a shadow."""
        return self._with(version, [], None)

    def about(self, key: str | None, time: str | None) -> Route:
        """Return the route with other `key` and `time` columns. None keeps the present column."""
        return replace(self, key=self.key if key is None else key, time=self.time if time is None else time)

    def _with(self, version: int, others: Sequence[Variant], shadow: int | None) -> Route:
        left = 1 - math.fsum(each.share for each in others)
        if left < -TOLERANCE:
            raise UsageError(
                f"endpoint `{self.endpoint}`: the variants besides `{MAIN}` would get {1 - left:g} of the requests",
                hint="a share is from 0 to 1, and all shares together are at most 1",
            )
        main = Variant(name=MAIN, version=version, share=min(1.0, max(0.0, left)))
        return replace(self, variants=(main, *others), shadow=shadow)


def check_key_and_time(key: str | None, time: str | None) -> None:
    """Check the names of an endpoint's `key` and `time` columns.

    Raises:
        UsageError: a name is empty or too long, or both are the same.
    """
    for what, name in (("key", key), ("time", time)):
        if name is not None and not 0 < len(name) <= MOST_NAME:
            raise UsageError(f"`{what}` is {name!r:.80}", hint="give the name of one column of the records")
    if key is not None and key == time:
        raise UsageError(
            f"`key` and `time` are both `{key:.80}`",
            hint="name two columns: `key` says whom an answer is about, and `time` says when",
        )


def key_text(value: object) -> str:
    """Return a value of an endpoint's `key` as text. Equal numbers have the same text, whether they are integers,
    floats or decimals: there is no exponent, and there are no zeros at its end.

    >>> key_text(17), key_text(17.0), key_text(Decimal("17.00")), key_text("17"), key_text(date(2026, 1, 31))
    ('17', '17', '17', '17', '2026-01-31')
    >>> key_text(0.00001), key_text(Decimal("0.000010"))
    ('0.00001', '0.00001')
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    elif isinstance(value, float) and "e" in str(value):
        value = Decimal(str(value))
    if isinstance(value, Decimal):
        return _shortest(value)
    return value.isoformat() if isinstance(value, date) else str(value)


def number_text(text: str) -> str:
    """Return the key of the number that a text writes with a decimal point. Other texts stay as they are.

    >>> number_text("17.00"), number_text("-17.50"), number_text("017.0"), number_text("Anna")
    ('17', '-17.5', '017.0', 'Anna')
    """
    return _shortest(Decimal(text)) if _WITH_POINT.fullmatch(text) else text


def _shortest(value: Decimal) -> str:
    if not value:
        return "0"
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or abs(exponent) > _LARGEST_EXPONENT:
        return str(value)
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def moment(value: str | date) -> datetime:
    """Return, in UTC, the time that a value of an endpoint's `time` column means. A day means its first moment. A time
    without a zone is in UTC already.

    >>> moment("2026-01-31").isoformat(), moment("2026-01-31T12:00:00+01:00").isoformat()
    ('2026-01-31T00:00:00+00:00', '2026-01-31T11:00:00+00:00')

    Raises:
        ValueError: the text is no date or time of ISO 8601, or the time in UTC is outside of the years 1 to 9999.
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
    """Return why a model can't answer requests, as far as its artifacts show. Return None if they show no reason."""
    if any(each.codec == "pickle" for each in within(model)):
        return "it is pickled, and reading it would run code"
    if preparation is not None and any(each.codec == "pickle" for each in within(preparation)):
        return "the preparation of its rows is pickled in part, and reading it would run code"
    if preparation is None and model.signature is None:
        return "it has no signature, so the columns of its records aren't known"
    return None


def takes(model: Ref, preparation: Ref | None) -> tuple[Column, ...]:
    """Return the columns that the records for a model need: those in the model's signature or, if it has own code, in
    the signature of this code. Return no columns if they aren't known, as for a preparation that isn't loaded yet."""
    own = own_code_in(preparation)
    signature = own.signature if own is not None else None if preparation is not None else signature_in(model.signature)
    return () if signature is None else signature.takes


UNSERVABLE_HINT = (
    "serve models of scikit-learn, LightGBM or a network, without classes of your own inside, and register them with a"
    " signature (`signature=`)"
)


def sole(endpoint: str, version: int) -> Route:
    """Return the route that sends all requests of an endpoint to one version."""
    return Route(endpoint=endpoint, variants=(Variant(name=MAIN, version=version, share=1.0),))


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Route).decode


def encode_route(route: Route) -> str:
    """Return a route as JSON text."""
    return _encode(route).decode()


def decode_route(text: str) -> Route:
    """Return the route in a text that `encode_route` wrote.

    Raises:
        LedgerError: the text is no route, or a newer Headrace wrote it.
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
    """A part of an endpoint's log: the table `out` in the store, with `count` predictions or with `count` labels. One
    writer logged them into one segment. `first` and `last` are the times of the first and the last of them, in Unix
    seconds.

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
"""The largest difference between the clocks of hosts, in seconds. Requests up to this long after an erasure are erased
too."""


_DIGITS = 24
"""How many hex digits are stored of the digest of a prediction's id. They are few, because an erasure may have a
million such digests."""


class Erasure(Noun, frozen=True):
    """The erasure of a person from an endpoint's log and from the tables that hold the person.

    `columns` are the columns that say whom a row is about, by the person's value. This value isn't stored. `digest` is
    the digest of the value with the random `salt` (hex digits), so that rows about the person are found in later
    imports too. With digest, salt and a list of all possible values, anybody can find out who the person was. So the
    digest hides a name, but not a short number. If the log may have hashed values, `digest` has a second line: the
    digest of the hashed value.

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
        """The time until which the person's requests are erased, in Unix seconds. Later requests are kept."""
        return self.at + CLOCKS_S

    def is_about(self, text: str) -> bool:
        """Return whether a text is the person's value, or this value hashed."""
        return digest_of(text, self.salt) in self.digest.split("\n")

    def known(self, prediction: str) -> str:
        """Return the digest that is stored instead of the id of an erased prediction."""
        return digest_of(prediction, self.salt)[:_DIGITS]


def digest_of(text: str, salt: str) -> str:
    """Return the digest of a text with a salt (hex digits).

    >>> digest_of("7", "00" * 32) == digest_of("07", "00" * 32)
    False
    """
    return blake3(text.encode("utf-8", "surrogatepass"), key=bytes.fromhex(salt)).hexdigest()
