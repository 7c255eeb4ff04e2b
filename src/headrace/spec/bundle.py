"""A bundle: the content-addressed code of a run. Also a version's own code: functions of a bundle that a version of a
model needs to answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
from blake3 import blake3
from msgspec.structs import replace

from headrace.errors import LedgerError
from headrace.spec.artifact import Ref, gather
from headrace.spec.code import digest
from headrace.spec.noun import UNREADABLE, Document, Row
from headrace.spec.signature import Signature, masked_signature, signature_in

_CODE = (".py", ".pyi", ".ipynb", ".sql")
_SETTINGS = (".toml", ".yaml", ".yml", ".json", ".cfg", ".ini", ".txt", ".md")
_PAGES = (".jinja", ".j2", ".tmpl", ".template", ".html", ".css", ".js")
SUFFIXES = frozenset((*_CODE, *_SETTINGS, *_PAGES))
"""The suffixes of the files that a bundle holds. Files of other kinds are data, and are left out."""


class Bundle(Row, frozen=True):
    """The archive that holds a run's code, in the store.

    `digest` and `nonce` name the archive in the store, `size` is its number of bytes. `roots` are the folders of the
    archive that are put on the import path. `lock` is the digest of the environment's lock file, or None if there is
    none. `platform` is the platform tag that the lock declares, or None.
    """

    digest: str
    size: int
    nonce: str
    roots: tuple[str, ...] = (".",)
    lock: str | None = None
    platform: str | None = None


def archive(bundle: Bundle) -> Ref:
    """Return a bundle's archive as an artifact. As long as a row of the ledger names this artifact, the archive is
    kept."""
    return Ref(digest=bundle.digest, size=bundle.size, codec="bundle", type="bundle", nonce=bundle.nonce)


OWN_CODE = "headrace.OwnCode"
"""The codec and the type of the artifact that `own_code_ref` makes."""


class OwnFunctions(Document, frozen=True):
    """The functions of a project that a version of a model needs to answer. `prepare` makes a model's rows from the
    rows that clients send, and `predict` asks the model. Each is a top-level function of a module, written as
    `module:name`, or None if the version doesn't need it.

    `signature` is the encoded signature of the rows that clients send. `python` is the version of Python that the run
    had, such as `3.12`. `roots`, `lock` and `platform` are those of the bundle that has the functions.
    """

    prepare: str | None
    predict: str | None
    signature: str
    python: str
    roots: tuple[str, ...]
    lock: str | None
    platform: str | None

    @property
    def name(self) -> str:
        """The name of these functions in texts for people. It is that of the first one, such as
        `delays.features.to_features`."""
        return (self.prepare or self.predict or "").replace(":", ".")


class OwnCode(NamedTuple):
    """A project's own code that a version of a model needs to answer. `bundle` has the functions. `signature` is about
    the rows that clients send. `given` is the artifact of a dictionary: the values that `prepare` gets, by
    parameter."""

    functions: OwnFunctions
    bundle: Bundle
    signature: Signature
    given: Ref


def own_code_ref(functions: OwnFunctions, bundle: Bundle, given: Ref, codes: Sequence[str]) -> Ref:
    """Return the artifact of a version's own code. `given` is the artifact of a dictionary with the values that
    `prepare` gets. Each of `codes` identifies a function together with all code that it reaches.

    The artifact's `content` depends on the functions' code, their environment, the signature and the values, but not on
    the rest of the bundle. So other changes in the project don't change it.
    """
    content = digest(*codes, given.identity, functions.signature, functions.python, functions.lock or "")
    return _gathered(archive(bundle), functions, given, content)


def own_code_in(ref: Ref | None) -> OwnCode | None:
    """Return the own code in an artifact that `own_code_ref` made. Return None if the artifact is something else, such
    as a preparation of `prepare.clean`.

    Raises:
        LedgerError: a newer Headrace wrote the artifact, or it is damaged.
    """
    if ref is None or ref.codec != OWN_CODE:
        return None
    try:
        code, about, given = ref.parts or ()
        functions = msgspec.json.decode(about.inline or b"", type=OwnFunctions)
    except (*UNREADABLE, ValueError) as error:
        raise _unreadable() from error
    signature = signature_in(functions.signature.encode())
    if functions.form > OwnFunctions.FORM or signature is None:
        raise _unreadable()
    bundle = Bundle(
        digest=code.digest,
        size=code.size,
        nonce=code.nonce or "",
        roots=functions.roots,
        lock=functions.lock,
        platform=functions.platform,
    )
    return OwnCode(functions, bundle, signature, given)


def name_of_preparation(ref: Ref | None) -> str | None:
    """Return the name, in texts for people, of what prepares a model's rows: the name of a function, such as
    `delays.features.to_features`, or the digest of a preparation. Return None if `ref` is None."""
    try:
        own = own_code_in(ref)
    except LedgerError:
        own = None
    return own.functions.name if own is not None else None if ref is None else ref.digest


def masked_own_code(ref: Ref, mask: Callable[[str], str]) -> Ref:
    """Return the artifact of a version's own code with `mask` applied to the texts in the signature. Return any other
    artifact unchanged."""
    own = own_code_in(ref)
    if own is None:
        return ref
    signature = masked_signature(own.functions.signature.encode(), mask).decode()
    return _gathered(archive(own.bundle), replace(own.functions, signature=signature), own.given, ref.content)


def _gathered(code: Ref, functions: OwnFunctions, given: Ref, content: str | None) -> Ref:
    data = msgspec.json.encode(functions)
    about = Ref(digest=blake3(data).hexdigest(), size=len(data), codec="json", type="builtins.dict", inline=data)
    names = ("bundle", "functions", "given")
    return replace(gather((code, about, given), codec=OWN_CODE, type=OWN_CODE, names=names), content=content)


def _unreadable() -> LedgerError:
    return LedgerError(
        "the project's own code of a version can't be read", hint="if a newer Headrace wrote it, install that"
    )
