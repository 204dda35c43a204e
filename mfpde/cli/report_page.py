"""One page about a run, from what stands in it: HTML without a line from elsewhere, and no byte of the present time."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

# records up to which they are columns, and not lines, of their table
SIDE_BY_SIDE = 8
# longest list or table of a summary that is shown number by number
LONGEST = 6


@dataclass(frozen=True)
class Page:
    """What a page shows; what is None or empty is left out.

    ``reload`` seconds after which it looks at itself again; ``summary`` as in summary.json; ``figures`` name -> PNG;
    ``film`` as report_film makes it; ``provenance`` (name, what).
    """

    title: str
    about: str
    reload: int | None = None
    warnings: Sequence[str] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    certificate: Sequence[str] = ()
    film: Mapping[str, Any] | None = None
    figures: Mapping[str, bytes] = field(default_factory=dict)
    study: str = ""
    provenance: Sequence[tuple[str, str]] = ()


def render(page: Page) -> str:
    """The page as HTML."""
    title = html.escape(page.title)
    # nothing from anywhere else may load, not even by a mistake in the page
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    parts = [
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<link rel="icon" href="data:,">',
        *([f'<meta http-equiv="refresh" content="{page.reload}">'] if page.reload else []),
        f"<style>\n{_resource('report.css')}</style>\n</head>\n<body>",
        f'<h1>{title}</h1>\n<p class="about">{html.escape(page.about)}</p>',
        *(f'<p class="warning">{html.escape(text)}</p>' for text in page.warnings),
        *_section("Certificate", [f"<p>{html.escape(text)}</p>" for text in page.certificate]),
        *_section("Density and particles over time", _film(page.film) if page.film else []),
        *_section("Numbers", ['<div class="numbers">', *_numbers(page.summary), "</div>"] if page.summary else []),
        *_section("Figures", [_figure(name, data) for name, data in page.figures.items()]),
        *_section("Study", [f"<pre><code>{html.escape(page.study)}</code></pre>"] if page.study else []),
        *_section("Provenance", [_facts(page.provenance)] if page.provenance else []),
    ]
    if page.film:
        parts.append(f"<script>\n{_resource('report.js')}</script>")
    return "\n".join([*parts, "</body>\n</html>\n"])


def _resource(name: str) -> str:
    return (resources.files("mfpde") / "cli" / name).read_text(encoding="utf-8")


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"<h2>{title}</h2>", *lines] if lines else []


def _film(film: Mapping[str, Any]) -> list[str]:
    last = len(film["times"]) - 1
    canvases = [
        f'<figure><canvas id="{row["id"]}" width="960" height="720" role="img"'
        f' aria-label="{html.escape(" against ".join(row["labels"]), quote=True)}"></canvas></figure>'
        for row in film["rows"]
    ]
    # "</" would end the script inside a text
    data = json.dumps(film, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    return [
        '<div class="controls"><button id="play" type="button">Play</button>'
        f'<input id="time" type="range" min="0" max="{last}" value="{last}" step="1" aria-label="time">'
        '<output id="time-shown" for="time"></output></div>',
        '<div class="film">',
        *canvases,
        "</div>",
        f'<p class="note">{html.escape(_legend(film))}</p>',
        f'<script type="application/json" id="film">{data}</script>',
    ]


def _legend(film: Mapping[str, Any]) -> str:
    rows = film["rows"]
    words = ["blue: weighted atoms, area as weight" if rows[0].get("atoms") else f"blue: density of {rows[0]['label']}"]
    if any(row["particles"] for row in rows):
        words.append(f"orange: {rows[0]['count']} particles of one network of the largest width")
    if any(row["stationary"] for row in rows):
        two = rows[0]["plane"]
        words.append("dashed: 50 % and 95 % of the stationary mass" if two else "dashed: the stationary density")
    return "; ".join(words) + ". Drag the slider, or use the arrow keys."


def _figure(name: str, data: bytes) -> str:
    text = html.escape(name, quote=True)
    image = base64.b64encode(data).decode("ascii")
    return (
        f'<figure class="drawn"><img alt="{text}" src="data:image/png;base64,{image}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


# ---- numbers -------------------------------------------------------------------------------------------------------


def _numbers(summary: Mapping[str, Any]) -> Iterator[str]:
    """A table per part of the summary: records side by side, everything else as name and value."""
    plain = [(key, value) for key, value in summary.items() if not isinstance(value, dict | list)]
    if plain:
        yield _facts([(_words(key), show(value)) for key, value in plain if value is not None])
    for key, value in summary.items():
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            yield _records(_words(key), value)
        elif isinstance(value, dict) and value:
            yield _facts([(_words(name), show(item)) for name, item in _flat(value) if item is not None], _words(key))


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key} ")
        else:
            yield f"{before}{key}", value


def _records(caption: str, records: Sequence[Mapping[str, Any]]) -> str:
    """A few records stand side by side with all their values; of many, a line each with what is no list."""
    flat = [dict(_flat(record)) for record in records]
    names = [key for key in flat[0] if any(show(record.get(key)) for record in flat)]
    if len(flat) <= SIDE_BY_SIDE:
        rows = [[_words(name), *(show(record.get(name)) for record in flat)] for name in names]
    else:
        names = [name for name in names if not isinstance(flat[0][name], list)]
        rows = [[_words(name) for name in names], *([show(record.get(name)) for name in names] for record in flat)]
    head, *body = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows)
    lines = f'<tr class="head">{head}</tr>' + "".join(f"<tr>{row}</tr>" for row in body)
    return f'<div class="wide"><table><caption>{html.escape(caption)}</caption>{lines}</table></div>'


def _facts(rows: Sequence[tuple[str, str]], caption: str = "") -> str:
    head = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    body = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows if value
    )
    return f'<div class="wide"><table>{head}{body}</table></div>'


def show(value: Any) -> str:
    """A value of a summary in a cell: numbers to six digits, long lists by their length."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict) and len(value) > LONGEST:
        return f"{len(value)} entries"
    if isinstance(value, dict):
        return ", ".join(f"{_words(key)} {show(item)}" for key, item in value.items())
    if isinstance(value, list):
        if len(value) > LONGEST:
            return f"{len(value)} values"
        return ", ".join(show(item) if not isinstance(item, list) else f"[{show(item)}]" for item in value)
    return str(value)


def _words(key: str) -> str:
    return key.replace("_", " ")
