"""`train.torch` as a plain function: what it learns, what it gives, and what it says of bad input."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from headrace.codec.codecs import Codecs
from headrace.errors import UsageError
from headrace.stages import train
from headrace.store.folder.folder import FolderStore

torch = pytest.importorskip("torch")


class Net(torch.nn.Module):
    def __init__(self, inputs: int = 3, outputs: int = 2, activation: Any = torch.nn.ReLU) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(inputs, 16), activation(), torch.nn.Dropout(0.1), torch.nn.Linear(16, outputs)
        )

    def forward(self, x: Any) -> Any:
        return self.layers(x)


class Words(torch.nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.embedding = torch.nn.EmbeddingBag(20, 8, padding_idx=0)
        self.score = torch.nn.Linear(9, outputs)

    def forward(self, words: Any, x: Any) -> Any:
        return self.score(torch.cat([self.embedding(words), x], 1))


class Odd(Net):
    """Gives a score that is not finite for a batch that holds a row with f0 > 100."""

    def forward(self, x: Any) -> Any:
        return super().forward(x) * torch.where(x[:, 0].max() > 100, torch.nan, 1.0)


class Idle(torch.nn.Module):
    def forward(self, x: Any) -> Any:
        return x


def table(rows: int = 600, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3)).astype(np.float32)
    return pa.table({**{f"f{i}": x[:, i] for i in range(3)}, "y": np.where(x.sum(1) > 0, "up", "down")})


OPTIONS: Any = {"target": "y", "epochs": 4, "batch_size": 32, "lr": 0.02}


def test_it_learns_to_tell_classes_apart() -> None:
    trained = train.torch(partial(Net, activation=torch.nn.Tanh), table(), valid=table(200, 1), **OPTIONS)
    assert trained.history.column_names == ["epoch", "step", "train_loss", "valid_loss", "valid_accuracy", "lr"]
    assert trained.history["epoch"].to_pylist() == [1, 2, 3, 4]
    assert trained.history["valid_accuracy"][-1].as_py() > 0.9
    assert (trained.model.predict(table(200, 1)) == np.array(table(200, 1)["y"].to_pylist())).mean() > 0.9
    assert np.allclose(trained.model.predict_proba(table(9)).sum(1), 1)
    assert trained.model.classes_.tolist() == ["down", "up"]
    assert [drawing.title for drawing in trained.report.drawings] == ["Loss", "Valid accuracy"]
    names = {fact.name for fact in trained.report.facts}
    assert names == {"epochs", "best epoch", "train/epoch_loss", "valid/loss", "valid/accuracy"}


def test_the_report_tells_the_epoch_whose_weights_are_given() -> None:
    options = {**OPTIONS, "epochs": 30, "lr": 0.5}
    trained = train.torch(Net, table(64), valid=table(64, 1), patience=2, **options)
    facts = {fact.name: fact.value for fact in trained.report.facts}
    losses = trained.history["valid_loss"].to_pylist()
    assert losses[-1] > min(losses)
    assert facts["valid/loss"] == min(losses)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_it_learns_in_mixed_precision(precision: Any) -> None:
    trained = train.torch(Net, table(), precision=precision, clip_norm=1.0, **OPTIONS)
    assert trained.history["train_loss"][-1].as_py() < 0.4
    assert all(each.dtype == torch.float32 for each in trained.model.state.values())


def test_one_score_or_one_value_is_learned_whatever_its_shape() -> None:
    logit = train.torch(Net, table(), loss="BCEWithLogitsLoss", **OPTIONS)
    assert logit.history["train_loss"][-1].as_py() < 0.4
    assert logit.model.predict_proba(table(5)).shape == (5, 2)
    rows = table()
    total = pa.array(sum(rows[f"f{i}"].to_numpy() for i in range(3)))
    value = train.torch(
        Net,
        rows.append_column("v", total),
        features=["f0", "f1", "f2"],
        loss=torch.nn.HuberLoss,
        **{**OPTIONS, "target": "v", "epochs": 8},
    )
    assert np.abs(value.model.predict(rows) - total.to_numpy()).mean() < 0.3


def test_arguments_of_a_model_are_columns_by_name() -> None:
    words = [[1 + (row % 2), 3, 4][: 1 + row % 3] for row in range(300)]
    rows = pa.table({"words": words, "age": np.zeros(300), "y": [row % 2 == 0 for row in range(300)]})
    trained = train.torch(Words, rows, features={"words": "words", "x": ["age"]}, **OPTIONS)
    assert (trained.model.predict(rows) == rows["y"].to_numpy()).all()


def test_a_schedule_and_patience() -> None:
    schedule = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.1)
    options = {**OPTIONS, "lr": 10.0, "epochs": 50}
    trained = train.torch(Net, table(), valid=table(100, 1), scheduler=schedule, patience=2, **options)
    losses = trained.history["valid_loss"].to_pylist()
    assert len(losses) < 50
    assert trained.history["lr"][0].as_py() == 10.0
    best = train.torch(
        Net, table(), valid=table(100, 1), scheduler=schedule, **{**options, "epochs": int(np.argmin(losses)) + 1}
    )
    assert all(torch.equal(best.model.state[name], each) for name, each in trained.model.state.items())


class Noted(torch.optim.SGD):
    """Notes the learning rate of each step."""

    rates: ClassVar[list[float]] = []

    def step(self, *args: Any, **kwargs: Any) -> Any:
        self.rates.append(self.param_groups[0]["lr"])
        return super().step(*args, **kwargs)


@pytest.mark.parametrize(
    ("warmup_steps", "factors"), [(0, [1, 1, 1, 1, 1, 1]), (1, [1, 1, 1, 1, 1, 1]), (4, [0.25, 0.5, 0.75, 1, 1, 1])]
)
def test_the_learning_rate_warms_up_evenly_below_what_the_scheduler_says(
    warmup_steps: int, factors: list[float]
) -> None:
    halves = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    options = {**OPTIONS, "epochs": 2, "batch_size": 32, "lr": 1.0, "scheduler": halves}
    for every, scheduled in (("epoch", [1, 1, 1, 0.5, 0.5, 0.5]), ("step", [1, 0.5, 0.25, 0.125, 0.0625, 0.03125])):
        Noted.rates.clear()
        train.torch(Net, table(96), optimizer=Noted, scheduler_every=every, warmup_steps=warmup_steps, **options)
        assert Noted.rates == pytest.approx([rate * factor for rate, factor in zip(scheduled, factors, strict=True)])


def test_the_same_seed_gives_the_same_weights_and_another_others() -> None:
    first, second, third = (train.torch(Net, table(), seed=seed, **OPTIONS) for seed in (0, 0, 1))
    assert first.report == second.report  # however fast each of them was
    one, same, other = (trained.model.state for trained in (first, second, third))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_network_is_the_same_when_it_was_stored(tmp_path: Any) -> None:
    codecs, store = Codecs(), FolderStore(tmp_path)
    trained = train.torch(partial(Net, activation=torch.nn.Tanh), table(), **OPTIONS)
    found: Any = codecs.load(codecs.save(trained, store), store, safe_only=False)
    assert np.array_equal(found.model.predict_proba(table(9)), trained.model.predict_proba(table(9)))


def test_a_batch_whose_loss_is_not_finite_is_an_error_or_left_out() -> None:
    wild = pa.concat_tables(
        [table(), pa.table({**{f"f{i}": pa.array([1e3], pa.float32()) for i in range(3)}, "y": ["up"]})]
    )
    with pytest.raises(UsageError, match=r"the loss is nan at step \d+"):
        train.torch(Odd, wild, **OPTIONS)
    assert train.torch(Odd, wild, on_nonfinite="skip", **OPTIONS).history["train_loss"][-1].as_py() < 0.5


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"table": table(0)}, "the table is empty"),
        ({"target": "z"}, "the table has no column `z`"),
        ({"features": ["f0", "g"]}, "no column `g`"),
        ({"features": ["f0", "y"]}, "among the features"),
        ({"table": table().append_column("text", pa.array(["a"] * 600))}, "column `text` is `string`"),
        ({"table": table().set_column(3, "y", pa.array(["up"] * 600))}, "'up' in every row"),
        ({"table": table().set_column(3, "y", pa.array([None, *["up", "no"] * 299, "up"]))}, "not finite in 1 of"),
        ({"table": table().set_column(3, "y", pa.array([float("nan")] * 600))}, "not finite in 600 of 600 rows"),
        ({"table": table().set_column(3, "y", pa.array([1e39, *[0.5] * 599]))}, "`y` has values beyond 3.4e38"),
        ({"valid": table(9).set_column(3, "y", pa.array(["sideways"] * 9))}, "'sideways', which the training table"),
        ({"valid": table(9).set_column(3, "y", pa.array([1] * 9))}, "`y` of `valid` is `int64`, and in the training"),
        ({"table": table().set_column(3, "y", pa.array([[1]] * 600))}, "the target `y` is `list<item: int64>`"),
        ({"model": partial(Net, inputs=7)}, r"can't take a batch: RuntimeError: .*mat1 and mat2.*"),
        ({"model": Idle}, "no parameters to learn"),
        ({"model": Net()}, "`model` is a `Net`"),
        ({"model": dict}, "not a `torch.nn.Module`"),
        (
            {"table": table().set_column(3, "y", pa.array(["up", "no"] * 300)), "loss": torch.nn.functional.mse_loss},
            "`y` is `string`, and this loss learns numbers",
        ),
        ({"loss": "NoLoss"}, "PyTorch has no loss `NoLoss`"),
        ({"optimizer": "Adamm"}, "no optimizer `Adamm`"),
        ({"optimizer": partial(torch.optim.SGD, momentumm=0.9), "lr": None}, "optimizer can't be made: .*momentumm"),
        ({"lr": -1.0}, "the optimizer can't be made: Invalid learning rate"),
        ({"scheduler": "StepLR"}, "the scheduler can't be made: .*step_size"),
        ({"scheduler": "ReduceLROnPlateau", "scheduler_every": "step"}, "needs the loss of an epoch"),
        ({"device": "xpu"}, "`device` is `xpu`, which doesn't exist on this machine"),
        ({"epochs": 0}, "`epochs` is 0"),
        ({"precision": "int8"}, "`precision` is 'int8'"),
        ({"device": "cuda"}, "no GPU"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_error(change: dict[str, Any], told: str) -> None:
    given: dict[str, Any] = {"model": Net, "table": table(), **OPTIONS, **change}
    if change.get("device") and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UsageError, match=told):
        train.torch(given.pop("model"), given.pop("table"), **given)


def test_a_network_drops_out_in_training_after_it_has_been_judged_too() -> None:
    seen: list[bool] = []

    class Seen(Net):
        def forward(self, x: Any) -> Any:
            seen.append(self.training)
            return super().forward(x)

    train.torch(Seen, table(60), valid=table(10, 1), **{**OPTIONS, "epochs": 2})
    assert seen == [True, True, False] * 2


def test_a_category_is_the_same_in_tables_that_number_theirs_otherwise() -> None:
    def kinds(words: list[str]) -> pa.Table:
        return pa.table({"kind": pa.array(words).dictionary_encode(), "y": [int(each != "a") for each in words]})

    learned = kinds(["a", "b", "c"] * 40)
    options: dict[str, Any] = {"target": "y", "epochs": 60, "lr": 0.05, "batch_size": 16}
    trained = train.torch(partial(Net, inputs=1), learned, valid=kinds(["c", "b", "a"]), **options)
    assert trained.history["valid_accuracy"][-1].as_py() == 1
    assert trained.model.predict(kinds(["c", "a", "b", "a"])).tolist() == [1, 0, 1, 0]
    with pytest.raises(UsageError, match="`kind` = 'd', which the training table never has"):
        trained.model.predict(kinds(["d"]))


def test_a_network_is_asked_by_tables_alone() -> None:
    with pytest.raises(UsageError, match=r"`train.Network` takes a `pyarrow.Table`, and was given a `DataFrame`"):
        train.torch(Net, table(), **OPTIONS).model.predict(table().to_pandas())


def test_views_of_text_are_classes() -> None:
    """As Polars gives them."""
    given = table().set_column(3, "y", table()["y"].cast(pa.string_view()))
    assert train.torch(Net, given, **OPTIONS).model.classes_.tolist() == ["down", "up"]
