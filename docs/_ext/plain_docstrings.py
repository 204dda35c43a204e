"""Docstrings of mfpde are plain text with formulas: shown as written, not read as reStructuredText; so are signatures.

A block of text becomes a paragraph in which only ``words between double back quotes`` are markup, a block whose lines
start with a dash a list, a table of two columns another list, an indented block stands in fixed letters.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from typing import Any

LITERAL = re.compile(r"(``.+?``)", re.DOTALL)
ROLE = re.compile(r":\w+:`~?([^`]+)`")
MARKUP = re.compile(r"([\\*`|_:<>])")


def setup(app: Any) -> dict[str, bool]:
    """Hook into autodoc."""
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True}


def process(_app: Any, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Replace the lines of a docstring by reStructuredText that shows them."""
    lines[:] = shown("\n".join(lines)).splitlines()


class _Word(str):
    """An annotation that is printed without quotation marks."""

    __slots__ = ()
    __repr__ = str.__str__


def signature(
    _app: Any, what: str, _name: str, documented: Any, _options: Any, found: str | None, _returned: str | None
) -> tuple[str, str | None] | None:
    """Parameters and result with the types as they stand in the source: ArrayLike, not all that it may be."""
    if found is None or what not in ("function", "class", "method"):
        return None
    try:
        written = inspect.signature(documented)
    except (TypeError, ValueError):
        return None
    names = vars(sys.modules[documented.__module__])
    parameters = [
        one.replace(annotation=_Word(_in_full(one.annotation, names))) if isinstance(one.annotation, str) else one
        for name, one in written.parameters.items()
        if name != "self"
    ]
    result = written.return_annotation
    told = _in_full(result, names) if isinstance(result, str) and what != "class" else None
    return str(inspect.Signature(parameters)), told


def _in_full(annotation: str, names: dict[str, Any]) -> str:
    """Classes of mfpde with their module, so that a link finds the right one of two with the same name."""

    def full(match: re.Match[str]) -> str:
        found = names.get(match[0])
        if isinstance(found, type) and found.__module__.startswith("mfpde."):
            return f"{found.__module__}.{found.__qualname__}"
        return match[0]

    return re.sub(r"(?<![.\w'\"])[A-Z]\w*", full, annotation)


def shown(text: str) -> str:
    """Plain text as reStructuredText."""
    parts = [part.strip("\n") for part in re.split(r"\n\s*\n", text) if part.strip()]
    return "\n\n".join(_block(part) for part in parts) + "\n"


def _block(text: str) -> str:
    if all(line.startswith("  ") for line in text.splitlines()):
        return ".. code-block:: text\n\n" + textwrap.indent(textwrap.dedent(text), "    ")
    if text.startswith("==="):
        rows = [line.split(None, 1) for line in text.splitlines() if not line.startswith("=")]
        return "\n".join(f"- {name}: {inline(words)}" for name, words in rows)
    if text.startswith("- "):
        items = re.split(r"^- ", text, flags=re.MULTILINE)[1:]
        return "\n".join(f"- {inline(item)}" for item in items)
    lead, formula = _apart(text)
    # the escaped space keeps what begins a line from being a marker of lists, fields or comments
    return f"\\ {inline(lead)}" + (f"\n\n.. code-block:: text\n\n{formula}" if formula else "")


def _apart(text: str) -> tuple[str, str]:
    """The lines of a block before those that are indented to its end, and these."""
    lines = text.splitlines()
    first = next((i for i, line in enumerate(lines) if line.startswith("  ")), len(lines))
    if not all(line.startswith("  ") for line in lines[first:]):
        return text, ""
    return "\n".join(lines[:first]), textwrap.indent(textwrap.dedent("\n".join(lines[first:])), "    ")


def inline(text: str) -> str:
    """One line of plain text as reStructuredText."""
    words = ROLE.sub(r"``\1``", " ".join(text.split()))
    pieces = LITERAL.split(words)
    return "".join(piece if LITERAL.fullmatch(piece) else MARKUP.sub(r"\\\1", piece) for piece in pieces)
