"""``mfpde report``: one page that needs nothing else, right in its numbers, alive in a browser."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Page, browser
from command_line import measured, refused, toy_study
from PIL import Image

from mfpde.cli import report_page
from mfpde.cli.main import main
from mfpde.io import atomic, store
from mfpde.io.store import Group, Variable

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of every kind of picture: a line, a plane with atoms, particles alone, and one topic of theory."""
    base = tmp_path_factory.mktemp("runs")
    (base / "toy.toml").write_text(toy_study(time=1.0, widths=(16, 32), replicas=2, tolerance=1e-3, snapshots=4))
    toy = str(base / "toy.toml")
    assert main(["solve", toy, "-o", str(base / "line"), "-q"]) == 0
    small = ["--set", "training.time=0.5", "--set", "output.snapshots=3", "--set", "particles.widths=[8]", "-q"]
    small += ["--no-figures", "--set", "particles.replicas=2"]
    assert main(["solve", "single-index", "-o", str(base / "plane"), "--set", "grid.cells=[20, 16]", *small]) == 0
    cold = ["--set", "training.temperature=0.0", "--set", "grid.cells=[8, 6]"]
    assert main(["solve", "single-index", "-o", str(base / "atoms"), *cold, *small]) == 0
    assert main(["solve", toy, "--only", "particles", "-o", str(base / "particles"), *small]) == 0
    assert main(["theory", "cell", "cell-polynomial", "-o", str(base / "theory"), "-q"]) == 0
    return base


class _Content(HTMLParser):
    """Addresses, tables, scripts and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.scripts: dict[str, str] = {}
        self.words: list[str] = []
        self.headings: list[str] = []
        self._tag, self._script = "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self._tag = tag
        self.addresses += [known[name] or "" for name in ("src", "href") if name in known]
        self._script = known.get("id") or "" if tag == "script" else ""

    def handle_data(self, data: str) -> None:
        if self._tag == "script":
            self.scripts[self._script] = self.scripts.get(self._script, "") + data
        elif self._tag == "h2" and data.strip():
            self.headings.append(data.strip())
        elif self._tag != "style":
            self.words.append(data.strip())


def _page(capsys: Capture, directory: Path) -> tuple[str, _Content, dict[str, Any]]:
    found = measured(capsys, "report", str(directory), "-o", str(directory / "page.html"), "--overwrite")
    text = (directory / "page.html").read_text(encoding="utf-8")
    assert found["bytes"] == len(text.encode()) < 5 << 20
    return text, _Content(text), found


def test_page_holds_numbers_certificate_study_and_figures(runs: Path, capsys: Capture) -> None:
    _, content, found = _page(capsys, runs / "line")
    sections = ["Certificate", "Density and particles over time", "Numbers", "Figures", "Study", "Provenance"]
    assert content.headings == sections
    outline = store.outline(runs / "line" / "limit.h5")
    rest, words = outline["groups"]["/stationary"]["attributes"], " ".join(content.words)
    assert f"free energy F = {rest['free_energy']:.10g}, after {rest['newton_steps']} Newton steps" in words
    assert f"value D = {rest['dual']:.10g}" in words
    assert f"F - D = {rest['gap']:.2e} at most" in words
    summary = json.loads((runs / "line" / "summary.json").read_text())
    assert f"t = 1 with the free energy {summary['limit']['free_energy']:.10g}" in words
    for record in summary["particles"]:
        assert f"{record['risk_mean']:.6g}" in content.words
    attributes = outline["attributes"]
    assert attributes["config"].strip() in content.words
    assert {attributes["config_sha256"], attributes["created"], attributes["source"]} <= set(content.words)
    pictures = [base64.b64decode(a.partition(",")[2]) for a in content.addresses if a.startswith("data:image/png")]
    assert len(pictures) == len(found["figures"]) == len(list((runs / "line").glob("*.png")))
    assert pictures[0] == (runs / "line" / "overview.png").read_bytes()


def test_page_asks_for_nothing_from_elsewhere_and_is_the_same_again(runs: Path, capsys: Capture) -> None:
    text, content, _ = _page(capsys, runs / "line")
    assert all(address.startswith("data:") for address in content.addresses)
    assert not re.findall(r"https?://|url\(|@import|import\s*\(", text)
    assert "default-src 'none'" in text
    assert _page(capsys, runs / "line")[0] == text


def test_film_is_the_density_and_the_particles_to_one_part_in_255(runs: Path, capsys: Capture) -> None:
    _, content, _ = _page(capsys, runs / "line")
    film = json.loads(content.scripts["film"])
    limit = store.read(runs / "line" / "limit.h5").groups["/limit"].variables
    assert film["times"] == limit["time"].data.tolist()
    (row,) = film["rows"]
    bytes_ = np.frombuffer(base64.b64decode(row["density"]), np.uint8).reshape(len(film["times"]), -1)
    count, width = bytes_.shape[1], (row["high"][0] - row["low"][0]) / bytes_.shape[1]
    x = row["low"][0] + width * (np.arange(count) + 0.5)
    for k, values in enumerate(limit["density"].data):
        expected = np.minimum(np.interp(x, limit["w"].data, values) / row["high"][1], 1.0)
        np.testing.assert_allclose(bytes_[k] / 255.0, expected, atol=0.5 / 255 + 1e-9)
    theta = store.read(runs / "line" / "particles.h5").groups["/ensemble/N000032"].variables["theta"].data
    names = store.read(runs / "line" / "particles.h5").groups["/ensemble/N000032"].variables["parameter"].data
    places = np.frombuffer(base64.b64decode(row["particles"]), "<u2").reshape(len(film["times"]), 32)
    low, high = row["low"][0], row["high"][0]
    found = low + (places / 65535.0 * 1.04 - 0.02) * (high - low)
    inside = (found > low) & (found < high)
    expected = theta[:, 0, :, list(names).index("w")]
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-4 * (high - low))


@pytest.mark.parametrize(
    ("run", "film", "certificate"),
    [
        ("plane", True, "The risk is convex"),
        ("atoms", True, "no stationary measure"),
        ("particles", True, ""),
        ("theory", False, ""),
    ],
)
def test_every_kind_of_output_has_a_page(runs: Path, run: str, film: bool, certificate: str, capsys: Capture) -> None:
    _, content, found = _page(capsys, runs / run)
    assert found["film"] is film
    assert found["figures"]  # those of a run without figures are drawn for the page
    assert certificate in " ".join(content.words)
    assert ("Certificate" in content.headings) is bool(certificate)
    assert {"Numbers", "Figures", "Study", "Provenance"} <= set(content.headings)


def test_an_unfinished_run_says_so_and_text_is_escaped(tmp_path: Path, capsys: Capture) -> None:
    group = Group({"time": Variable(("time",), np.array([0.0])), "w": Variable(("w",), np.array([0.0, 1.0])),
                   "density": Variable(("time", "w"), np.ones((1, 2)))})  # fmt: skip
    origin = store.provenance('title = "<script>x</script>"\n', "<script>x</script>", 0, False) | {"kind": "limit"}
    store.write(tmp_path / "limit.h5", {"/limit": group}, origin)
    text, _, found = _page(capsys, tmp_path)
    assert "limit.h5 is of an unfinished run" in text
    assert "<script>x" not in text
    assert not found["film"]


def test_refusals(tmp_path: Path, capsys: Capture) -> None:
    refused(capsys, "report", str(tmp_path / "none"), words="there is no directory", code=6)
    refused(capsys, "report", str(tmp_path), words="holds no output of mfpde", code=6)
    (tmp_path / "report.html").write_text("kept")
    refused(capsys, "report", str(tmp_path), words="--overwrite replaces it")
    (tmp_path / "summary.json").write_text("{")
    refused(capsys, "report", str(tmp_path), "--overwrite", words="no JSON that can be read", code=4)
    assert (tmp_path / "report.html").read_text() == "kept"
    (tmp_path / "x.h5").write_text("text")
    refused(capsys, "report", str(tmp_path), "--overwrite", words="x.h5", code=4)


def test_page_follows_a_run_until_it_ends(runs: Path, tmp_path: Path, capsys: Capture) -> None:
    directory, page, seen = tmp_path / "out", tmp_path / "out" / "report.html", []
    shutil.copytree(runs / "line", directory)
    with ThreadPoolExecutor(1) as pool:
        locked = threading.Event()

        def writer() -> None:
            with atomic.lock(directory):
                locked.set()
                while not page.exists():
                    time.sleep(0.01)
                seen.append(page.read_text(encoding="utf-8"))

        held = pool.submit(writer)
        assert locked.wait(60.0)
        assert atomic.writer(directory) == os.getpid()
        assert main(["report", str(directory), "--follow", "1", "-q"]) == 0
        held.result()
    assert '<meta http-equiv="refresh" content="1">' in seen[0]
    assert "The run goes on" in seen[0]
    assert "refresh" not in page.read_text(encoding="utf-8")
    assert page.read_text(encoding="utf-8") == _page(capsys, directory)[0]


def test_a_dead_process_writes_nothing(tmp_path: Path) -> None:
    assert atomic.writer(tmp_path) is None
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for text in (f"{gone.pid}\n", "", "x"):
        (tmp_path / atomic.LOCK_FILE).write_text(text)
        assert atomic.writer(tmp_path) is None


# ---- in a browser --------------------------------------------------------------------------------------------------


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Page]:
    with browser(tmp_path / "profile") as page:
        yield page


PIXELS = "[...document.querySelectorAll('canvas')].map(canvas => canvas.toDataURL())"
MOVE = "(() => {{ const s = document.getElementById('time'); s.value = {k}; s.dispatchEvent(new Event('input')); }})()"


# where the sums of blue ink over the columns and over the rows of the first picture are largest, in shares of it
INK = """
(() => {
  const pen = document.getElementById('row-0').getContext('2d'), [width, height] = [820, 580];
  const data = pen.getImageData(116, 52, width, height).data;
  const columns = new Array(width).fill(0), rows = new Array(height).fill(0);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const at = 4 * (y * width + x), blue = Math.max(0, data[at + 2] - data[at]);
    columns[x] += blue; rows[y] += blue;
  }
  const top = list => list.indexOf(Math.max(...list));
  return [top(columns) / width, 1 - top(rows) / height];
})()
"""


def test_page_lives_in_chromium(runs: Path, tab: Page, tmp_path: Path, capsys: Capture) -> None:
    for run in ("line", "plane", "atoms", "theory"):
        _, content, found = _page(capsys, runs / run)
        tab.requests.clear()
        tab.open(runs / run / "page.html")
        assert tab.missing_images() == []
        assert tab.evaluate("document.images.length") == len(found["figures"])
        if found["film"]:
            times = json.loads(content.scripts["film"])["times"]
            after = tab.evaluate(PIXELS)
            assert tab.evaluate("document.getElementById('time-shown').textContent") == f"t = {times[-1]:g}"
            tab.evaluate(MOVE.format(k=0))
            assert tab.evaluate("document.getElementById('time-shown').textContent") == "t = 0"
            before = tab.evaluate(PIXELS)
            assert all(one != other for one, other in zip(before, after, strict=True))
            tab.evaluate(MOVE.format(k=len(times) - 1))
            assert tab.evaluate(PIXELS) == after
            tab.evaluate("document.getElementById('play').click()")
            assert tab.evaluate("document.getElementById('play').textContent") == "Pause"
        assert tab.errors == []
        assert [a for a in tab.requests if not a.startswith("data:")] == [(runs / run / "page.html").resolve().as_uri()]
    tab.screenshot(tmp_path / "page.png")
    assert np.asarray(Image.open(tmp_path / "page.png").convert("L")).std() > 1.0


def test_canvas_shows_the_peak_of_the_density_where_it_is(runs: Path, tab: Page, capsys: Capture) -> None:
    _, content, _ = _page(capsys, runs / "plane")
    row = json.loads(content.scripts["film"])["rows"][0]
    tab.open(runs / "plane" / "page.html")
    first = np.frombuffer(base64.b64decode(row["density"]), np.uint8).reshape(-1, *row["shape"])[0]
    i, j = np.unravel_index(np.argmax(first), first.shape)
    share = (i + 0.5) / row["shape"][0], (j + 0.5) / row["shape"][1]
    tab.evaluate(MOVE.format(k=0))
    np.testing.assert_allclose(tab.evaluate(INK), share, atol=0.12)


def test_a_page_that_follows_looks_at_itself_again(tab: Page, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(report_page.render(report_page.Page("before", "", reload=1)), encoding="utf-8")
    tab.open(page)
    assert tab.evaluate("document.title") == "before"
    page.write_text(report_page.render(report_page.Page("after", "")), encoding="utf-8")
    deadline = time.monotonic() + 30.0
    while tab.evaluate("document.title") != "after":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert tab.errors == []
