"""Indices and exponents of the formulas in running text, written x_q and e^{-t}, are set as such on the site.

In the pages at the top of docs/ and the docstrings, outside of code and LaTeX: a letter or a closing sign, then ``_``
or ``^``, then a letter, a number, braces, brackets or one of a few words.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx import addnodes

WORDS = "orb|var|up|min|max|sparse|stat|PoC|cert|init|BH|TV|order|exponent"
LETTER, SIGN = "[A-Za-zΑ-ωℓ∂∑Σ∫∏′²⊗ᵀ₀-₉]", "[*|‖)\\]ᴺ\u0304]"
INDEX = (
    rf"(?:(?<![A-Za-z])d?{LETTER}|{SIGN}|(?<![A-Za-z])(?:sup|Var|Cov|He)|[A-Za-z](?=[_^]\{{))"
    rf"((?:[_^](?:\{{[^{{}}]*\}}|\([^()]*\)|(?:{WORDS})(?![A-Za-z])|[−-]?\d+(?:\.\d+)?|½|∞|⊥|⊗?[A-Za-zΑ-ω](?![A-Za-z])))+)"
)
ONE = re.compile(r"([_^])(\{[^{}]*\}|\([^()]*\)|[A-Za-z]{2,}|[−-]?\d+(?:\.\d+)?|⊗?.)")
WHOLE = re.compile(INDEX)
AS_WRITTEN = (
    nodes.literal,
    nodes.literal_block,
    nodes.math,
    nodes.math_block,
    nodes.raw,
    nodes.comment,
    addnodes.desc_signature,
)


def setup(app: Any) -> dict[str, bool]:
    """Rewrite every page once it has been read."""
    app.connect("doctree-read", rewrite)
    return {"parallel_read_safe": True}


def rewrite(app: Any, doctree: nodes.document) -> None:
    """Put sub- and superscripts into the text of one page."""
    if "/" in app.env.docname and not app.env.docname.startswith("auto/api/"):
        return
    for text in list(doctree.findall(nodes.Text)):
        words = text.astext()  # unlike the node itself without what marks escaped letters
        if WHOLE.search(words) and not _as_written(text):
            text.parent.replace(text, typeset(words))


def _as_written(node: Any) -> bool:
    while node is not None:
        if isinstance(node, AS_WRITTEN):
            return True
        node = node.parent
    return False


def typeset(text: str) -> list[nodes.Node]:
    """The text as nodes, indices and exponents lowered and raised."""
    found: list[nodes.Node] = []
    end = 0
    for match in WHOLE.finditer(text):
        found.append(nodes.Text(text[end : match.start(1)]))
        for sign, inner in ONE.findall(match[1]):
            kind = nodes.subscript if sign == "_" else nodes.superscript
            bare = inner[1:-1] if inner[0] in "{(" else inner
            found.append(kind("", "", *typeset(bare)))
        end = match.end()
    return [*found, nodes.Text(text[end:])]
