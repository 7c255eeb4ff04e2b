"""Networks, as `train.torch` gives them, whose names lead elsewhere than to PyTorch; and other records that do.

Each would do something in whatever process asks it to predict, or only loads it, if nobody looked at the names first.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace as changed

from headrace.codec.sink import inline
from headrace.spec.artifact import Ref, gather
from headrace.stages.train import Network
from headrace.stages.train._torch.module import Made, Named
from headrace.stages.train._torch.target import Lesson

LINEAR = "torch.nn.modules.linear:Linear"
CANARY = "headrace_canary"
"""A module that leaves the marker where it is imported, and in each call of what it defines."""


def canary(folder: Path, marker: Path) -> None:
    """Write the module that tells of its import."""
    mark = f"open({str(marker)!r}, 'w').close()"
    (folder / f"{CANARY}.py").write_text(
        f"{mark}\ndef harm(*args, **kwargs):\n    {mark}\nclass Harm:\n    harm = harm\n"
    )


def network(factory: str = LINEAR, *args: Any, **kwargs: Any) -> Network:
    """A network that is made so. Its weights and its columns are those of a network that predicts."""
    return Network(
        made=Made(factory=factory, args=args, kwargs=kwargs),
        lesson=Lesson(target="y", columns={"x": ["a", "b"]}, answer="logit", classes=["down", "up"]),
        state=dict(torch.nn.Linear(2, 1).state_dict()),
    )


def factories(marker: Path) -> Mapping[str, Network]:
    """Networks by what their names try."""
    path = str(marker)
    linear = network(LINEAR, 2, 1)
    return {
        "a function of os": network("os:mkdir", path),
        "a command": network("os:system", f"touch {path}"),
        "a process": network("subprocess:Popen", ["touch", path]),
        "a builtin": network("builtins:open", path, "w"),
        "text that is run": network("builtins:exec", f"open({path!r}, 'w')"),
        "a module that acts when it is imported": network(f"{CANARY}:harm"),
        "a method of a class of such a module": network(f"{CANARY}:Harm.harm"),
        "a module of PyTorch that acts when it is imported": network("torch.nn.__main__:harm"),
        "a walk by dots from torch.nn": network("torch.nn.functional:torch.os.mkdir", path),
        "a walk by dots from a class": network("torch.nn.modules.linear:Linear.__init__.__globals__"),
        "a walk in the module's name": network("torch.nn.functional.torch.os:mkdir", path),
        "a name that torch.nn only imports": network("torch.nn.modules.module:warnings"),
        "a class of torch.nn by the name of another module": network("torch.nn:Linear", 2, 1),
        "a class method that reads a file": network("torch.nn.modules.sparse:Embedding.from_pretrained", path),
        "a function of torch.nn.functional": network("torch.nn.functional:relu"),
        "a function that loads pickles": network("torch.serialization:load", path),
        "code of torch.hub": network("torch.hub:load", "owner/name", "model"),
        "a module of torch that isn't of torch.nn": network("torch.ao.nn.quantized.modules.linear:Linear", 2, 1),
        "a project's own class": network("pipelines:Net", 2),
        "no module": network(":mkdir", path),
        "no name": network("os:", path),
        "nothing": network(""),
        "a space after the name": network(f"{LINEAR} ", 2, 1),
        "a name of a base class": network("torch.nn.modules.module:Module.__class__"),
        "an argument of os": network(LINEAR, 2, 1, Named(name="os:mkdir")),
        "an argument by name of os": network(LINEAR, 2, 1, device=Named(name="os:mkdir")),
        "an argument that acts when it is imported": network(LINEAR, 2, 1, Named(name=f"{CANARY}:harm")),
        "an argument by a walk": network(LINEAR, 2, 1, Named(name="torch.nn.functional:torch.os.mkdir")),
        "an argument that torch.nn.functional only imports": network(
            LINEAR, 2, 1, Named(name="torch.overrides:handle_torch_function")
        ),
        "a private function as an argument": network(LINEAR, 2, 1, Named(name="torch.nn.functional:_in_projection")),
        "an argument that holds a network": network(LINEAR, 2, [network("os:mkdir", path)]),
        "a text where the module should be": changed(linear, made="os:mkdir"),
        "a description of another class where the module should be": changed(linear, made=linear.lesson),
        "a dictionary where the module should be": changed(linear, made={"factory": "os:mkdir", "args": [path]}),
        "a name that is a number": changed(linear, made=changed(linear.made, factory=1)),
        "arguments that are a text": changed(linear, made=changed(linear.made, args="os:mkdir")),
        "a module where the weights should be": changed(linear, state=network("os:mkdir", path)),
        "texts where the weights should be": changed(linear, state={"weight": "os:mkdir"}),
        "a network where the lesson should be": changed(linear, lesson=network("os:mkdir", path)),
        "columns that are no names": changed(linear, lesson=changed(linear.lesson, columns={"x": [1]})),
        "classes that are networks": changed(
            linear, lesson=changed(linear.lesson, classes=[network("os:mkdir", path), linear])
        ),
    }


def records(marker: Path) -> Mapping[str, Ref]:
    """Artifacts of records, enumerations and documents whose class isn't data of Headrace, by what they try."""
    path = inline("text", "builtins.str", str(marker).encode())
    names = {
        "a record of a class of subprocess": "subprocess.Popen",
        "a record of a module that acts when it is imported": f"{CANARY}.Harm",
        "a record of a module of ours that nobody has loaded": "headrace.stages.train._torch.rank.Network",
        "a record that ours imports": "headrace.stages.train.importlib.Network",
        "a record of a noun that isn't listed": "headrace.spec.address.StoreAddress",
        "a record of a class inside of a listed one": "headrace.stages.train.Network.Made",
        "a record of a version, which loads others": "headrace.Version",
        "a record by a digest of code": f"{CANARY}.Harm@0123",
        "a record of no class": "headrace.stages.train.",
        "a record of a module": "headrace.stages.train",
        "a record without a name": "",
    }
    made = {what: gather([path], codec="record", type=name, names=("args",)) for what, name in names.items()}
    made |= {f"{what}, as an enumeration": inline("enum", name, b'["SIGKILL",null]') for what, name in names.items()}
    made |= {f"{what}, as a document": inline("document", name, b'{"form":1}') for what, name in names.items()}
    deep = gather([])
    for _ in range(2_000):
        deep = gather([deep])
    return made | {
        "a document of a record that is none": inline("document", "headrace.stages.train.Made", b'{"factory":"os:x"}'),
        "a document of a module of ours": inline("document", "headrace.stages.train._torch.rank.X", b"{}"),
        "a named class, as it lies": gather(
            [inline("text", "builtins.str", b"os:mkdir")],
            codec="record",
            type="headrace.stages.train._torch.module.Named",
            names=("name",),
        ),
        "lists in lists": deep,
    }
