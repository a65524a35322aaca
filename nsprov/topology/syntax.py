"""What a YAML syntax error means in the user's words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nsprov.errors import Diagnostic
    from nsprov.topology.positions import Source

_QUOTED = re.compile(r"""["'][^"']*\{\{""")

_MEANINGS = (
    ("cannot start any token", "a character that YAML reserves begins a value", "quote the value"),
    ("mapping values are not allowed", "a second colon on one line", "quote the value if the colon belongs to it"),
    ("could not find expected ':'", "a key without a colon", "put a colon and a space after the key"),
    ("expected <block end>", "the indentation does not fit the lines above", "indent it like its neighbours"),
    ("did not find expected key", "the indentation does not fit the lines above", "indent it like its neighbours"),
    ("did not find expected '-' indicator", "a list item is missing its dash", "begin each item with a dash and a space"),
    ("block sequence entries are not allowed", "a list cannot begin here", "put it on its own lines"),
    ("did not find expected ',' or ']'", "a list is not closed with ]", "close it"),
    ("did not find expected ',' or '}'", "a mapping is not closed with }", "close it"),
    ("did not find expected node content", "a value is missing", "write one, or remove the line"),
    ("unexpected end of stream", "a quote is not closed", "close it"),
    ("unexpected document indicator", "a quote is not closed", "close it"),
    ("did not find expected <document start>", "something follows the end of the document", "remove it"),
    ("undefined tag handle", "a tag is not allowed", "remove it"),
    ("unknown escape character", "an escape that YAML does not know", "use single quotes"),
    ("duplicate %", "a directive is written twice", "remove it"),
    ("exceeded", "the file is nested too deeply", "flatten it"),
)


def explain(source: Source, problem: str | None, mark: Any) -> Diagnostic:
    """Build the diagnostic of a syntax error from what the parser said."""
    problem = problem or "the text is not YAML"
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    while line > 1 and (line > len(source.lines) or not source.lines[line - 1].strip()):
        line, column = line - 1, len(source.lines[line - 2].rstrip()) + 1
    text = source.lines[line - 1] if line <= len(source.lines) else ""
    detail = f"The YAML parser says: {problem}."
    if "\t" in text[: len(text) - len(text.lstrip())]:
        return source.diagnose((line, text.index("\t") + 1), "a tab is used for indentation", detail, "use spaces")
    if "{{" in text and not _QUOTED.search(text):
        hint = 'write "{{ ... }}", with the quotes around the whole value'
        return source.diagnose((line, text.index("{{") + 1), "a Jinja expression is not quoted", detail, hint)
    for words, summary, hint in _MEANINGS:
        if words in problem:
            return source.diagnose((line, column), summary, detail, hint)
    return source.diagnose((line, column), "this is not YAML", detail, "check the quotes, colons and indentation here")
