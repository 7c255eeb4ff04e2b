"""Where a stage may be declared."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from headrace.errors import DefinitionError

ONE = "import headrace as hr\n\n@hr.stage\ndef one(n: int) -> int:\n    return n\n"


def test_a_module_with_stages_is_loaded_again_whether_it_was_edited_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "module_loaded_again.py"
    file.write_text(ONE)
    module = importlib.import_module(file.stem)
    for text in [ONE, ONE.replace("return n", "return n + 1  # longer"), f"\n\n{ONE}"]:
        before = module.one
        file.write_text(text)
        importlib.reload(module)
        assert module.one is not before
    file.write_text(ONE + ONE)
    with pytest.raises(DefinitionError, match="has two stages `one`, at lines 3 and 8"):
        importlib.reload(module)
