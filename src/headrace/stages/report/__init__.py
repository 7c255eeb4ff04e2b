"""How a report is shown: as a page, as Markdown, in a terminal. There is one renderer, whoever made the report."""

from __future__ import annotations

from headrace.stages.facade import lazily

# Type checkers read the imports below; a process that runs loads what it uses.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from headrace.stages.report.drawing import canvas as canvas
    from headrace.stages.report.page import document as document
    from headrace.stages.report.page import html as html
    from headrace.stages.report.page import html_body as html_body
    from headrace.stages.report.prose import markdown as markdown
    from headrace.stages.report.terminal import text as text

PLACES = {
    "canvas": "headrace.stages.report.drawing",
    "document": "headrace.stages.report.page",
    "html": "headrace.stages.report.page",
    "html_body": "headrace.stages.report.page",
    "markdown": "headrace.stages.report.prose",
    "text": "headrace.stages.report.terminal",
}
__all__ = sorted(PLACES)  # noqa: PLE0605  a list it is, and there is one table of the names
__getattr__ = lazily(__name__, PLACES)


def __dir__() -> list[str]:
    return __all__
