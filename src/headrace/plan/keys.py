"""Computes the key of a task: the digest of everything that determines the task's output."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from blake3 import blake3

from headrace.spec.graph import Arg, Const, Many, Out, Secret
from headrace.spec.noun import stored
from headrace.spec.stage import Stage

Inputs = tuple[tuple[str, Arg], ...]
_encode = msgspec.msgpack.Encoder().encode
_decode = stored(msgspec.msgpack.Decoder(tuple[tuple[str, str], ...]).decode, "a task's stored inputs")


def key_of(stage: Stage, inputs: Inputs, platform: str | None) -> tuple[str, bytes]:
    """Return the key of a task, and the encoded identities of its inputs (`differing` compares them).

    The key covers the stage's code with its environment (`spec.code`), the inputs, and the platform that the bundle's
    lock declares. The platform is left out if the stage is portable. The order of the arguments doesn't matter.
    """
    identities = _encode(sorted((name, identity(arg)) for name, arg in inputs))
    return _key(stage, identities, platform), identities


def key_seen(stage: Stage, inputs: bytes, saw: Iterable[tuple[str, str]], platform: str | None) -> tuple[str, bytes]:
    """Return the key of a task for the inputs that its attempt really read, and the encoded identities of these inputs.

    `inputs` are the encoded identities as known before the attempt. `saw` are pairs of a parameter and the identity
    that the attempt really read instead, such as the version of a source.
    """
    identities = _encode(sorted({**dict(_decode(inputs)), **dict(saw)}.items()))
    return _key(stage, identities, platform), identities


def _key(stage: Stage, identities: bytes, platform: str | None) -> str:
    place = "" if stage.portable else (platform or "")
    return blake3(f"{stage.code.digest}\n{place}\n".encode() + identities).hexdigest()


def identity(arg: Arg) -> str:
    """Return the text that identifies an argument in a key.

    Raises:
        ValueError: the argument needs a task's output that isn't known yet.
    """
    match arg:
        case Const(ref=ref):
            return ref.identity
        case Secret(name=name):
            return f"secret:{name}"
        case Many(shape=shape, items=items, names=names):
            hasher = blake3(f"{shape}:{len(items)}:{names!r}".encode())
            for item in items:
                hasher.update(f"\n{identity(item)}".encode())
            return f"{shape}:{hasher.hexdigest()}"
        case Out(task=task):
            raise ValueError(f"the output of `{task}` is not known yet")


def differing(before: bytes, after: bytes) -> list[str]:
    """Return the parameters that have another identity in `after` than in `before`. Both are encoded inputs of a task,
    as `key_of` returns them."""
    then = told(before)
    return [name for name, now in told(after).items() if then.get(name) != now]


def told(inputs: bytes) -> dict[str, str]:
    """Return the identity of each input, by parameter. `inputs` are encoded, as `key_of` returns them."""
    return dict(_decode(inputs))
