"""Prepares the arguments of attempts: loads artifacts, fills in secrets, and arranges both for the call."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from headrace.define.call import laid_out
from headrace.errors import HeadraceError
from headrace.run.wire import Do
from headrace.spec.artifact import Ref, blobs
from headrace.spec.graph import Arg, Const, Many, Secret, secrets
from headrace.store.store import Store
from headrace.work.loaded_stage import LoadedStage


class Load(Protocol):
    """Loads an artifact's value. With `verify`, its bytes are first checked against its digest. A value that is a file
    or folder becomes a link in the folder `scratch`."""

    def __call__(self, ref: Ref, *, verify: bool = False, scratch: Path | None = None) -> object: ...


class Arguments:
    """Loads the arguments for the attempts of one worker. If `guarded` is True, the bytes of files in the store
    are compared with their digests before they are loaded, since the code of other stages may have changed them."""

    def __init__(self, store: Store, load: Load, *, guarded: bool) -> None:
        self._store = store
        self._load = load
        self._guarded = guarded
        self._verified: dict[str, list[tuple[int, ...] | None]] = {}
        self._secrets: dict[str, str] = {}

    def learn(self, name: str, value: str) -> None:
        """Keep the value of a secret, which the driver has sent, for the attempts that use this secret."""
        self._secrets[name] = value

    def secrets(self, order: Do) -> list[str]:
        """Return the values of an attempt's secrets. Secrets whose values the driver hasn't sent are left out."""
        names = set().union(*(secrets(arg) for _, arg in order.args))
        return [self._secrets[name] for name in names if self._secrets.get(name)]

    def of(self, order: Do, entry: LoadedStage, folder: Path) -> tuple[list[Any], dict[str, Any]]:
        """Load the arguments of an attempt, and return them by position and by name."""
        values: dict[str, Any] = {}
        for name, arg in order.args:
            if name in entry.unread:
                values[name] = None
                continue
            value = self._value(arg, order, folder)
            values[name] = value if name.startswith("*") else entry.fitted(name, value)
        return laid_out(entry.stage.signature, values)

    def _value(self, arg: Arg, order: Do, folder: Path) -> Any:
        match arg:
            case Const(ref=ref):
                return self._given(ref, order, folder)
            case Many(shape="dict", items=items, names=names):
                return {name: self._value(item, order, folder) for name, item in zip(names, items, strict=True)}
            case Many(shape=shape, items=items):
                values = [self._value(item, order, folder) for item in items]
                return tuple(values) if shape == "tuple" else values
            case Secret(name=name):
                return self._secret(name)
            case _:
                raise HeadraceError(f"an argument of `{order.task}` is not known")

    def _given(self, ref: Ref, order: Do, folder: Path) -> object:
        """Load an argument. If `guarded` is True, or `order.verify` names one of the argument's blobs, first compare
        the bytes of its blobs with their digests. Blobs that haven't changed since their last check aren't checked
        again."""
        needed = blobs(ref)
        if not needed or not (self._guarded or any(blob.digest in order.verify for blob in needed)):
            return self._load(ref, scratch=folder)
        stamps = [self._store.stamp(blob.digest, blob.nonce or "") for blob in needed]
        value = self._load(ref, verify=None in stamps or self._verified.get(ref.identity) != stamps, scratch=folder)
        self._verified[ref.identity] = stamps
        return value

    def _secret(self, name: str) -> str:
        value = self._secrets.get(name)
        if value is None:
            raise HeadraceError(
                f"secret `{name}` is not set", hint=f"set the environment variable {name} where the run is started"
            )
        return value
