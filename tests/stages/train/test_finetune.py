"""Fine-tuning by adapters: on tiny models of random weights, and on the real command with real signals."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import headrace as hr
from headrace.errors import HeadraceError, NotFoundError, UsageError
from headrace.stages import prepare, train
from headrace.stages.train._finetune.predict import _foretell
from tests.projects import lent

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

GOOD = pa.table({"text": ["a good film", "a bad film", "fine and good", "bad and dull"] * 16, "y": ["+", "-"] * 32})
ASKED = pa.table({"text": ["a good film:", "a bad film:"] * 32, "answer": [" yes", " no"] * 32})
FAST: dict[str, Any] = {"length": 16, "batch_size": 8, "lr": 2e-2}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder and a language model, some ten thousand random numbers each."""
    folder = tmp_path_factory.mktemp("models")
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    sizes = {"vocab_size": 270, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 64, "max_position_embeddings": 64}
    tokenizer = prepare.tokenizer(GOOD, vocab_size=270)
    for name in ("encoder", "language"):
        shutil.copytree(tokenizer.path, name)
    transformers.BertModel(transformers.BertConfig(**sizes)).save_pretrained("encoder")
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, num_key_value_heads=2)).save_pretrained("language")
    patch.undo()
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test in a folder of its own, without a network; threads of other tests' servers keep theirs. A socket of
    this machine, by which tests begin commands, is no network."""
    monkeypatch.chdir(tmp_path)
    connect, ours = socket.socket.connect, threading.get_ident()

    def refused(self: socket.socket, address: Any) -> None:
        if threading.get_ident() == ours and self.family != socket.AF_UNIX:
            raise AssertionError("it asked for a network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refused)


def test_an_encoder_learns_to_tell_classes_and_is_asked_again(models: Path) -> None:
    encoder = hr.Folder(models / "encoder")
    found = train.finetune(encoder, GOOD, target="y", valid=GOOD, epochs=4, peft={"r": 4}, **FAST)
    assert found.history["valid_accuracy"].to_pylist()[-1] == 1.0
    assert {path.name for path in found.adapter.files()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "task.json",
    }
    facts = {fact.name: fact.value for fact in found.report.facts}
    assert 0 < facts["parameters that learn"] < facts["parameters"] / 10
    told = train.predict(encoder, found.adapter, GOOD)
    assert told["predicted"].to_pylist() == GOOD["y"].to_pylist()
    assert all(
        abs(a + b - 1) < 1e-6
        for a, b in zip(told["predicted_+"].to_pylist(), told["predicted_-"].to_pylist(), strict=True)
    )


def test_the_same_data_and_seed_give_the_same_bytes(models: Path, tmp_path: Path) -> None:
    digests = []
    for seed in (0, 0, 1):
        found = train.finetune(hr.Folder(models / "encoder"), GOOD, target="y", seed=seed, **FAST)
        digests.append([path.read_bytes() for path in found.adapter.files()])
        shutil.rmtree(tmp_path / "adapter")
    assert digests[0] == digests[1] != digests[2]
    assert str(models).encode() not in b"".join(digests[0])


def test_tokens_that_are_there_already_are_learned_from(models: Path) -> None:
    encoder = hr.Folder(models / "encoder")
    tokens = prepare.tokenize(GOOD, encoder, length=16).table.drop_columns("text")
    plain = train.finetune(encoder, GOOD, target="y", **FAST)
    ready = train.finetune(encoder, tokens, target="y", **FAST)
    assert plain.history["train_loss"].to_pylist() == ready.history["train_loss"].to_pylist()


def test_peft_itself_reads_the_adapter(models: Path) -> None:
    found = train.finetune(hr.Folder(models / "language"), ASKED, target="answer", task="continue", **FAST)
    model = transformers.AutoModelForCausalLM.from_pretrained(str(models / "language"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of peft about transformers
        read = peft.PeftModel.from_pretrained(model, str(found.adapter.path))
    assert read.active_adapter == "default"


def test_a_language_model_learns_what_is_to_follow(models: Path) -> None:
    language = hr.Folder(models / "language")
    lora = {"r": 8, "target_modules": "all-linear"}
    found = train.finetune(
        language, ASKED, target="answer", task="continue", end="<|end|>", epochs=16, peft=lora, **FAST | {"length": 32}
    )
    told = train.complete(language, found.adapter, ASKED, max_new_tokens=8)
    assert told["completion"].to_pylist() == ASKED["answer"].to_pylist()
    before = train.complete(language, None, ASKED.slice(0, 2), max_new_tokens=8)
    assert before["completion"].to_pylist() != ["yes", "no"]


def test_the_loss_of_held_rows_is_a_mean_over_tokens_in_whatever_batches_they_are(models: Path) -> None:
    long, short = ["a good film and a bad film, and so on and so forth"] * 32, ["dull"] * 32
    mixed = [text for pair in zip(long, short, strict=True) for text in pair]
    options: dict[str, Any] = {"task": "continue", "peft": {"r": 4}, **FAST, "length": 64}
    losses = [
        train.finetune(hr.Folder(models / "language"), ASKED, valid=pa.table({"text": texts}), **options).history
        for texts in (long + short, mixed)
    ]
    sorted_apart, interleaved = (history["valid_loss"][0].as_py() for history in losses)
    assert sorted_apart == pytest.approx(interleaved, abs=1e-5)


def test_a_batch_without_a_token_to_learn_counts_for_nothing(models: Path) -> None:
    silent = pa.table({"text": ["a good film:"] * 32, "answer": [""] * 32})
    found = train.finetune(
        hr.Folder(models / "language"), pa.concat_tables([ASKED, silent]), target="answer", task="continue",
        valid=pa.concat_tables([ASKED.slice(0, 32), silent]), peft={"r": 4}, **FAST,
    )  # fmt: skip
    alone = train.finetune(
        hr.Folder(models / "language"), pa.concat_tables([ASKED, silent]), target="answer", task="continue",
        valid=ASKED.slice(0, 32), peft={"r": 4}, **FAST,
    )  # fmt: skip
    assert found.history["valid_loss"][0].as_py() == alone.history["valid_loss"][0].as_py()


def test_packed_texts_are_learned_whole(models: Path) -> None:
    language = hr.Folder(models / "language")
    blocks = prepare.tokenize(GOOD, language, length=16, pack=True, end="<|end|>").table
    found = train.finetune(language, blocks, epochs=3, **FAST)
    losses = found.history["train_loss"].to_pylist()
    assert losses[-1] < losses[0]


def test_empty_texts_and_a_huge_one_are_learned_from(models: Path) -> None:
    table = pa.table({"text": ["", None, "good " * 400_000, "bad"], "y": ["+", "-", "+", "-"]})
    encoder = hr.Folder(models / "encoder")
    found = train.finetune(encoder, table, target="y", **FAST)
    assert train.predict(encoder, found.adapter, table).num_rows == 4


def test_what_is_wrong_is_said_once_with_a_hint(models: Path, tmp_path: Path) -> None:
    encoder = hr.Folder(models / "encoder")
    (tmp_path / "pickled").mkdir()
    shutil.copy(models / "encoder" / "config.json", tmp_path / "pickled")
    shutil.copy(models / "encoder" / "tokenizer.json", tmp_path / "pickled")
    torch.save({}, tmp_path / "pickled" / "pytorch_model.bin")
    (tmp_path / "empty").mkdir()
    (tmp_path / "fake.gguf").write_text("nothing")
    one = GOOD.filter(pa.compute.equal(GOOD["y"], "+"))
    cases: list[tuple[dict[str, Any], type[HeadraceError], str]] = [
        ({"table": GOOD.slice(0, 0)}, UsageError, "the table is empty"),
        ({"table": one}, UsageError, "`y` is '+' in every row"),
        ({"target": "z"}, UsageError, "no column `z`"),
        ({"text": "txt"}, UsageError, "no column `txt`"),
        ({"text": "n", "table": GOOD.append_column("n", pa.array(range(64)))}, UsageError, "is int64, not text"),
        ({"task": "guess"}, UsageError, "`task` is 'guess'"),
        ({"task": "classify", "target": ""}, UsageError, "there is no target"),
        ({"peft": {"rank": 4}}, UsageError, "unexpected keyword argument 'rank'"),
        ({"peft": {"target_modules": ["nowhere"]}}, UsageError, "nowhere"),
        ({"valid": GOOD.set_column(1, "y", pa.array(["?"] * 64))}, UsageError, "`valid` has `y` = '?'"),
        ({"model": "no_such_package/model"}, NotFoundError, "no_such_package"),
        ({"model": hr.Folder("empty")}, HeadraceError, "empty"),
        ({"model": hr.Folder("pickled")}, UsageError, "has no weights in safetensors"),
        ({"model": hr.Folder(tmp_path), "gguf_file": "fake.gguf"}, UsageError, "`fake.gguf`"),
        ({"epochs": 0}, UsageError, "`epochs` is 0"),
        ({"length": 16, "optimizer": "Adamm"}, UsageError, "no optimizer `Adamm`"),
    ]
    for change, kind, message in cases:
        with pytest.raises(kind) as caught:
            train.finetune(**{"model": encoder, "table": GOOD, "target": "y", **FAST, **change})
        assert message in caught.value.message, (change, caught.value.message)
        assert caught.value.hint, caught.value.message


def test_an_adapter_is_asked_only_for_what_it_learned_and_with_its_own_model(models: Path, tmp_path: Path) -> None:
    encoder = hr.Folder(models / "encoder")
    found = train.finetune(encoder, GOOD, target="y", **FAST)
    with pytest.raises(UsageError, match="trained to classify"):
        train.complete(hr.Folder(models / "language"), found.adapter, GOOD)
    with pytest.raises(UsageError, match="wasn't made by `finetune`"):
        train.predict(encoder, encoder, GOOD)
    notes = json.loads((found.adapter / "task.json").read_text())
    (found.adapter / "task.json").write_text(json.dumps(notes | {"classes": ["+", "-", "?"]}))
    with pytest.raises(UsageError, match="doesn't fit the model"):
        train.predict(encoder, found.adapter, GOOD)


def test_the_former_name_of_predict_says_the_same_under_its_own_stage_and_column(models: Path) -> None:
    encoder = hr.Folder(models / "encoder")
    adapter = train.finetune(encoder, GOOD, target="y", **FAST).adapter
    with pytest.warns(DeprecationWarning, match="is train.predict now"):
        told = train.foretell(encoder, adapter, GOOD)
    now = train.predict(encoder, adapter, GOOD)
    assert told["foretold"].equals(now["predicted"])
    assert [name.replace("foretold", "predicted") for name in told.column_names] == now.column_names
    former = _foretell.declaration
    assert (former.name, former.function) == ("foretell", "headrace.stages.train.applying:_foretell")


PIPELINES = """
import os
import signal
from pathlib import Path

import pyarrow as pa
import torch

import headrace as hr
from headrace.stages import prepare, train

MARKER = Path(os.environ["MARKER"])
ENCODER = hr.Folder("models/encoder")


class Deadly(torch.optim.AdamW):
    steps = 0

    def step(self, *args, **more):
        Deadly.steps += 1
        if Deadly.steps == 13 and os.environ.get("TROUBLE") and not MARKER.exists():
            MARKER.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(*args, **more)


@hr.stage
def read() -> pa.Table:
    texts = ["a good film", "a bad film", "fine and good", "bad and dull"]
    return pa.table({"text": texts * 20, "y": ["+", "-"] * 40})


@hr.pipeline
def fit() -> None:
    table = read()
    found = train.finetune(
        ENCODER, table, target="y", valid=table, epochs=2, batch_size=8, lr=1e-2, length=16,
        peft={"r": 4, "lora_dropout": 0.1}, optimizer=Deadly, checkpoint_every=4,
    )
    train.predict(ENCODER, found.adapter, prepare.tokenize(table, ENCODER, length=16).table)
"""


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Any:
    def lend(name: str) -> Any:
        return lent(tmp_path_factory.mktemp(name) / "project")

    return lend


@pytest.mark.heavy  # tests/stages/train/test_resume.py does the same with a network
def test_a_training_that_is_killed_goes_on_and_ends_with_the_same_adapter(projects: Any, models: Path) -> None:
    found = []
    for name in ("undisturbed", "disturbed"):
        with projects(name) as project:
            project.environment["MARKER"] = str(project.root.parent / "marker")
            project.environment["OMP_NUM_THREADS"] = "1"
            project.environment["TROUBLE"] = "" if name == "undisturbed" else "die"
            project.write("pipelines.py", PIPELINES)
            shutil.copytree(models / "encoder", project.root / "models" / "encoder")
            done = project.headrace("run", "fit", "--json")
            assert done.code == 0, done.out + done.err
            assert project.headrace("get", "latest", "finetune.adapter", "--to", "out").code == 0
            adapter = [path.read_bytes() for path in hr.Folder(project.root / "out").files()]
            found.append((done.task["finetune"]["attempts"], adapter))
    assert [attempts for attempts, _ in found] == [1, 2]
    assert found[0][1] == found[1][1]
