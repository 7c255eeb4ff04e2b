"""Functions that render a report as an HTML page, as Markdown, or as text for a terminal. The same functions render
the reports of all stages."""

from __future__ import annotations

from headrace.facade import lazily

# Type checkers read the imports below. At run time, each name is imported when it is first used.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from headrace.report.as_markdown import markdown as markdown
    from headrace.report.as_text import text as text
    from headrace.report.drawing import canvas as canvas
    from headrace.report.page import document as document
    from headrace.report.page import html as html
    from headrace.report.page import html_body as html_body

PLACES = {
    "canvas": "headrace.report.drawing",
    "document": "headrace.report.page",
    "html": "headrace.report.page",
    "html_body": "headrace.report.page",
    "markdown": "headrace.report.as_markdown",
    "text": "headrace.report.as_text",
}
__all__ = sorted(PLACES)  # noqa: PLE0605  this is a list, made from the one table of names
__getattr__ = lazily(__name__, PLACES)


def __dir__() -> list[str]:
    return __all__
