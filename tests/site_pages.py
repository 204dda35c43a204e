"""What may be wrong with a static site: links, anchors, images, foreign resources, formulas that were not drawn."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from browser import Page

# elements whose address is fetched when the page is shown
LOADED = {
    "img": "src",
    "script": "src",
    "source": "src",
    "video": "src",
    "iframe": "src",
    "embed": "src",
    "track": "src",
}
RELATIONS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "modulepreload", "dns-prefetch", "manifest"}
FOREIGN_CSS = re.compile(r"""(?:url\(\s*['"]?|@import\s+['"])((?:https?:)?//[^'")\s]+)""")
# text that a reader sees outside of code, formulas that MathJax has not taken, and its own error nodes
RAW = r"""
(() => {
  const raw = /\$[^$\s][^$]*\$|\\\(|\\\[|\\begin\{|\\[a-zA-Z]+\{|[_^]\{/;
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const where = node.parentElement;
    if (raw.test(node.data) && !where.closest("code, pre, dt.sig, script, style, textarea, mjx-container"))
      found.push(node.data.trim().slice(0, 80));
  }
  for (const formula of document.querySelectorAll(".math"))
    if (!formula.querySelector("mjx-container")) found.push("not drawn: " + formula.textContent.slice(0, 80));
  for (const error of document.querySelectorAll("mjx-merror, [data-mml-node=merror]"))
    found.push("error: " + error.textContent);
  return found;
})()
"""


class Content(HTMLParser):
    """Identifiers, links, and the addresses that a page loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.identifiers: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        self.identifiers |= {known[name] for name in ("id", "name") if name in known}
        if tag == "a" and "href" in known:
            self.links.append(known["href"])
        if tag == "link" and RELATIONS & set(known.get("rel", "").split()):
            self.loaded.append(known["href"])
        if tag in LOADED and LOADED[tag] in known:
            self.loaded.append(known[LOADED[tag]])
        self.loaded += [part.split()[0] for part in known.get("srcset", "").split(",") if part.strip()]


def pages_of(site: Path) -> list[Path]:
    """The pages, without the templates that themes leave among their static files."""
    return [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]


def broken(site: Path) -> Iterator[str]:
    """Links and resources of all pages that lead nowhere, and resources of another host, as sentences."""
    contents = {path: Content(path) for path in pages_of(site)}
    for path, content in contents.items():
        name = path.relative_to(site)
        for address in content.loaded:
            if address.startswith("data:"):
                continue
            if urlsplit(address).netloc or urlsplit(address).scheme:
                yield f"{name} loads {address} from another host"
            elif not (path.parent / unquote(urlsplit(address).path)).is_file():
                yield f"{name} loads {address}, which does not exist"
        for address in content.links:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                yield f"{name} links to {address}, which does not exist"
            elif parts.fragment and target.suffix == ".html":
                if unquote(parts.fragment) not in contents[target].identifiers:
                    yield f"{name} links to {address}, an anchor that does not exist"
    for path in sorted(site.rglob("*.css")):
        for address in FOREIGN_CSS.findall(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)} loads {address} from another host"


def shown_badly(page: Page, path: Path, *widths: int) -> list[str]:
    """What is wrong with a page as a browser shows it that is made as wide as each of these in turn, as sentences."""
    page.errors.clear()
    page.requests.clear()
    _resize(page, widths[0])
    page.open(path)
    page.evaluate("window.MathJax && MathJax.startup && MathJax.startup.promise.then(() => 1)")
    page.evaluate("[...document.images].forEach(image => image.loading = 'eager')")
    found = []
    for width in widths:
        _resize(page, width)
        page.evaluate("new Promise(drawn => requestAnimationFrame(() => setTimeout(() => drawn(1))))")
        page.evaluate("Promise.all([...document.images].map(image => image.decode().catch(() => 0))).then(() => 1)")
        found += [f"image missing: {name}" for name in page.missing_images()]
        found += [f"raw formula: {text}" for text in page.evaluate(RAW)]
        across = page.evaluate("document.documentElement.scrollWidth")
        if across > width:
            found.append(f"is {across} pixels wide in a window of {width}")
    found += [f"error {error[:300]}" for error in page.errors]
    found += [f"asks for {address}" for address in page.requests if not address.startswith(("file:", "data:", "blob:"))]
    return found


def _resize(page: Page, width: int) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
