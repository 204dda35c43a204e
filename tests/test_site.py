"""The documentation site: built by the command the docs name, every page loaded, every link followed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest
from browser import browser, executable
from site_pages import broken, pages_of, shown_badly

from mfpde.cli import main
from mfpde.io import studies
from mfpde.io.keys import VERBS as STUDY_VERBS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
COMMAND = 'pip install ".[docs]" && sphinx-build -W --keep-going docs site'
NEEDED = ("sphinx", "myst_parser", "pydata_sphinx_theme", "sphinx_gallery", "sphinx_copybutton", "joblib")
DESKTOP, PHONE = 1280, 390


def _helper(name: str, *needed: str):  # type: ignore[no-untyped-def]
    """A module of docs/_ext or docs/, without leaving its folder on the path."""
    for package in needed:
        pytest.importorskip(package, reason=f"the extra mfpde[docs] is not installed: {package} is missing")
    path = next(path for path in (DOCS / "_ext" / f"{name}.py", DOCS / f"{name}.py") if path.is_file())
    spec = util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- the sources ----------------------------------------------------------------------------------------------------


def test_one_command_builds_the_site_here_in_the_docs_and_in_ci() -> None:
    assert f"\n{COMMAND}\n" in (DOCS / "architecture.md").read_text(encoding="utf-8")
    assert '".[docs]"' in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_page_stands_in_a_table_of_contents() -> None:
    listed: set[str] = {"index"}
    for path in DOCS.glob("*.md"):
        for block in re.findall(r"```\{toctree\}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            entries = [line for line in block.splitlines() if line and not line.startswith(":")]
            listed |= {re.sub(r".*<(.*)>", r"\1", entry) for entry in entries}
    assert {path.stem for path in DOCS.glob("*.md")} == {name for name in listed if "/" not in name}


def test_every_folder_of_the_gallery_has_a_header_and_scripts() -> None:
    folders = [path for path in (DOCS / "gallery").iterdir() if path.is_dir() and not path.name.startswith(("_", "."))]
    assert folders
    for folder in (DOCS / "gallery", *folders):
        assert [name for name in ("GALLERY_HEADER.rst", "README.rst", "README.txt") if (folder / name).is_file()], (
            folder
        )
    assert all(list(folder.glob("*.py")) for folder in folders)


def test_every_picture_of_the_docs_has_a_command_that_makes_it() -> None:
    images = _helper("make_images")
    commands = images.COMMANDS
    assert {*commands, images.TUTORIAL} == {path.stem for path in (DOCS / "images").glob("*.png")}
    for lines, _ in commands.values():
        for line in lines:
            main.parse(line.split())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x_q and e^{−λs}", "x<q> and e(−λs)"),
        ("Σ_j r_j |x_j| t_j + b", "Σ<j> r<j> |x<j>| t<j> + b"),
        ("f^{N,n}_{t,dt} − f^n_∞", "f(N,n)<t,dt> − f(n)<∞>"),
        ("E‖f_N − f_π‖², D*_orb(S), C_PoC/N", "E‖f<N> − f<π>‖², D*<orb>(S), C<PoC>/N"),
        ("N^−0.92, d^(−1/2), r_j^{d_j−1}", "N(−0.92), d(−1/2), r<j>(d<j>−1)"),
        ("two_gaussians, data_law.x and bias_std", "two_gaussians, data_law.x and bias_std"),
    ],
)
def test_indices_and_exponents_are_lowered_and_raised(text: str, shown: str) -> None:
    subscripts = _helper("subscripts", "sphinx")
    from docutils import nodes

    def plain(node: nodes.Node) -> str:
        if isinstance(node, nodes.Text):
            return str(node)
        marks = {nodes.subscript: "<>", nodes.superscript: "()"}[type(node)]
        return marks[0] + "".join(map(plain, node.children)) + marks[1]

    assert "".join(map(plain, subscripts.typeset(text))) == shown


def test_docstrings_are_shown_as_they_are_written() -> None:
    shown = _helper("plain_docstrings").shown
    assert shown("f_q of *all* ``nodes_``:\n\n    F = a_b*c\n") == (
        "\\ f\\_q of \\*all\\* ``nodes_``\\:\n\n.. code-block:: text\n\n    F = a_b*c\n"
    )


# ---- the checks themselves ------------------------------------------------------------------------------------------

PAGE = """<!doctype html><meta charset="utf-8"><title>page</title><link rel="stylesheet" href="{style}">
<h1 id="top">title</h1><p>{text}</p><a href="{link}">there</a><img alt="picture" src="{image}">"""
SOUND = {"style": "page.css", "text": "fine, x = 1", "link": "#top", "image": "dot.png"}
BROKEN = {
    "style": "https://example.org/page.css",
    "text": "raw $x_q$ and \\(y\\)",
    "link": "page.html#nowhere",
    "image": "gone.png",
}


def _small_site(directory: Path, **changed: str) -> Path:
    (directory / "page.css").write_text("p { color: black; }", encoding="utf-8")
    shutil.copyfile(DOCS / "images" / "single-index.png", directory / "dot.png")
    (directory / "page.html").write_text(PAGE.format(**{**SOUND, **changed}), encoding="utf-8")
    return directory


@pytest.mark.parametrize("wrong", [None, *BROKEN])
def test_checks_find_what_is_broken_and_nothing_else(wrong: str | None, tmp_path: Path) -> None:
    site = _small_site(tmp_path, **({} if wrong is None else {wrong: BROKEN[wrong]}))
    assert len(list(broken(site))) == (0 if wrong in (None, "text") else 1)


def test_browser_finds_raw_formulas_missing_images_and_foreign_requests(tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as page:
        assert shown_badly(page, _small_site(tmp_path, image="dot.png") / "page.html", 2200) == []
        (narrow,) = shown_badly(page, tmp_path / "page.html", 2200, PHONE)
        assert narrow.endswith(f"pixels wide in a window of {PHONE}")
        found = "\n".join(shown_badly(page, _small_site(tmp_path, **BROKEN) / "page.html", DESKTOP))
    assert all(words in found for words in ("raw formula: raw $x_q$", "image missing: picture", "asks for https://"))


# ---- the site -------------------------------------------------------------------------------------------------------


def _build(target: Path) -> str:
    """Run the documented command into a directory and return what it prints."""
    words = [sys.executable, "-m", "sphinx", *COMMAND.split(" && ")[1].split()[1:-1], str(target)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout


# one test, so that processes that share the tests do not build it twice at once
@pytest.mark.slow
def test_site_is_whole_and_every_page_is_shown_as_meant(tmp_path: Path) -> None:
    for package in NEEDED:
        pytest.importorskip(package, reason=f"the extra mfpde[docs] is not installed: {package} is missing")
    site = tmp_path / "site"
    said = _build(site)
    scripts = [path for path in (DOCS / "gallery").rglob("*.py") if not path.name.startswith("_")]
    assert f"gallery: {len(scripts)} scripts in" in said
    assert list(broken(site)) == []
    pages = pages_of(site)
    names = {str(path.relative_to(site)) for path in pages}
    assert {f"{path.stem}.html" for path in DOCS.glob("*.md")} <= names
    for script in scripts:
        text = (site / "auto" / script.relative_to(DOCS).with_suffix(".html")).read_text(encoding="utf-8")
        assert "sphx-glr-single-img" in text or "sphx-glr-animation" in text, f"{script.name} has no figure"
    assert all(f"usage: mfpde {verb}" in (site / "auto" / "help.html").read_text() for verb in main.VERBS)
    shown = (site / "auto" / "studies.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in shown for verb in STUDY_VERBS for name in studies.names(verb))
    assert "auto/images/single-index" not in shown
    assert ("no Chromium here" in said) == (executable() is None)
    with browser(tmp_path / "profile") as page:
        wrong = {
            str(path.relative_to(site)): found for path in pages if (found := shown_badly(page, path, DESKTOP, PHONE))
        }
    assert wrong == {}
