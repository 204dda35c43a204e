"""Links to READMEs outside docs/ and to the folder of the gallery: on the site they lead to pages of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = {"../data/README.md": "auto/data.md", "../benchmarks/README.md": "auto/benchmarks.md"}
GALLERY = ("](gallery)", "](auto/gallery/index.rst)")


def setup(app: Any) -> dict[str, bool]:
    """Write the pages before anything is read, and lead the links to them."""
    app.connect("builder-inited", write)
    app.connect("source-read", redirect)
    return {"parallel_read_safe": True}


def write(app: Any) -> None:
    """Copies of the files, their links relative to where they now are."""
    for origin, page in PAGES.items():
        target = Path(app.srcdir) / page
        text = (Path(app.srcdir) / origin).read_text(encoding="utf-8")
        text = re.sub(r"\]\(\.\./docs/([^)]+)\)", r"](../\1)", text)
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, encoding="utf-8")


def redirect(_app: Any, name: str, source: list[str]) -> None:
    """Lead links of a page at the top of docs/ to the pages made of those files; name pages by title, not by file."""
    if "/" not in name:
        source[0] = re.sub(r"\[([\w-]+\.md)\]\((\1)\)", r"[](\2)", source[0])
        source[0] = source[0].replace(*GALLERY)
        for origin, page in PAGES.items():
            source[0] = source[0].replace(f"[{origin}]({origin})", f"[]({page})").replace(f"]({origin})", f"]({page})")
