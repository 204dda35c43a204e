"""How the larger values show themselves: a short table of facts, as text and, in a notebook, as HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence

Facts = Sequence[tuple[str, str]]


class Shown:
    """A value that shows its ``facts`` in place of its arrays."""

    def facts(self) -> Facts:
        """(what, how much or which), a line each."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return text_table(type(self).__name__, self.facts())

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, self.facts())


def text_table(title: str, facts: Facts) -> str:
    """The title, and below it one indented line per fact."""
    width = max((len(name) for name, _ in facts), default=0)
    return "\n".join([title, *(f"  {name:<{width}}  {value}" for name, value in facts)])


def html_table(title: str, facts: Facts) -> str:
    """The same as an HTML table, everything escaped."""
    rows = "".join(
        f'<tr><th style="text-align:left">{html.escape(name)}</th>'
        f'<td style="text-align:left">{html.escape(value)}</td></tr>'
        for name, value in facts
    )
    return f"<table><caption>{html.escape(title)}</caption>{rows}</table>"
