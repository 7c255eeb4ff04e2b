"""A row of the table of edits: a project, an edit of it, and the stages that the edit reaches."""

from __future__ import annotations

from dataclasses import dataclass, field
from textwrap import dedent

Edit = tuple[str, str] | tuple[str, str, str]
"""What is replaced, and by what; before it the file's name where that is not `pipelines.py`."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One edit.

    `before` is `pipelines.py`; `files` are others, by path. `after` gives whole files anew (None removes one).

    Of the functions in `pipelines.py`, the edit must give those in `changes` another digest and leave that of those in
    `keeps` as it is; `class:Name` is a class, as an artifact records it. `note` and `uncached` are part of what each of
    them must say after the edit: None and "" mean that there is no note, and that nothing forbids reuse; a note of "*"
    that there may be any.

    In a `live` row, the edit is made after the import. A row can't run without the library that it `needs`, nor below
    the version that `python` is.
    """

    name: str
    before: str
    edits: tuple[Edit, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    after: dict[str, str | None] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    note: str | None = None
    uncached: str = ""
    live: bool = False
    needs: str | None = None
    python: tuple[int, int] = (3, 11)

    def versions(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return all files before and after."""
        before = {"pipelines.py": dedent(self.before), **{path: dedent(text) for path, text in self.files.items()}}
        after = dict(before)
        for edit in self.edits:
            path, old, new = edit if len(edit) == 3 else ("pipelines.py", *edit)
            if after[path].count(old) != 1:
                raise ValueError(f"{self.name}: `{old}` stands {after[path].count(old)} times in {path}")
            after[path] = after[path].replace(old, new)
        for path, text in self.after.items():
            if text is None:
                del after[path]
            else:
                after[path] = dedent(text)
        return before, after


def row(
    name: str,
    before: str,
    *edits: Edit,
    changes: str = "",
    keeps: str = "",
    files: dict[str, str] | None = None,
    after: dict[str, str | None] | None = None,
    note: str | None = None,
    uncached: str = "",
    live: bool = False,
    needs: str | None = None,
    python: tuple[int, int] = (3, 11),
) -> Row:
    """Make a row; stages are separated by blanks."""
    return Row(
        name=name,
        before=before,
        edits=edits,
        files=files or {},
        after=after or {},
        changes=tuple(changes.split()),
        keeps=tuple(keeps.split()),
        note=note,
        uncached=uncached,
        live=live,
        needs=needs,
        python=python,
    )
