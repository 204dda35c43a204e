"""The scripts of the gallery: their shape, and that together they show every verb and every built-in study.

That they run, agree with their known answers and make their figures is what the build of the site shows (test_site).
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from mfpde.cli.main import VERBS
from mfpde.io import studies

GALLERY = Path(__file__).resolve().parent.parent / "docs" / "gallery"
SCRIPTS = sorted(GALLERY.glob("*/*.py"))
STUDIES = [name for verb in ("solve", "kernel-limit", "one-step", "deep") for name in studies.names(verb)]
MOST_LINES = 59

each_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")


def _words(node: ast.AST) -> list[str]:
    """The words of all texts inside a piece of code, in order."""
    texts = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return [word for text in texts for word in text.split()]


def _commands(tree: ast.Module) -> list[str]:
    """What follows ``mfpde`` in every list or call of texts that may be a command line."""
    pieces = [node for node in ast.walk(tree) if isinstance(node, ast.Call | ast.List | ast.Tuple)]
    return [" ".join(_words(piece)[:2]) for piece in pieces]


def _shown_verbs(script: Path) -> set[str]:
    """The verbs that a script runs, or names as a command line ``mfpde VERB``."""
    source = script.read_text(encoding="utf-8")
    commands = _commands(ast.parse(source)) + re.findall(r"\bmfpde ([a-z-]+(?: [a-z-]+)?)", source)
    return {verb for verb in VERBS for command in commands if f"{command} ".startswith(f"{verb} ")}


def _shown_studies(script: Path) -> set[str]:
    """The built-in studies that a script names in its code, its description left out; f"cell-{name}" names several."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    words = set(_words(ast.Module(tree.body[1:], [])))
    composed = {start + word for start in words if start.endswith("-") for word in words}
    return set(STUDIES) & (words | composed)


@each_script
def test_a_script_is_short_and_says_what_is_known(script: Path) -> None:
    source = script.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MOST_LINES
    text = ast.get_docstring(ast.parse(source)) or ""
    title, line, *rest = text.splitlines()
    assert title and set(line) == {"="} and len(line) >= len(title)
    assert "Known answer" in "\n".join(rest)


@each_script
def test_a_script_draws_and_ends_in_a_number(script: Path) -> None:
    calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.Call)]
    assert {"plt.subplots", "plt.figure"} & set(calls)
    assert "print" in calls or any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(script.read_text())))


@each_script
def test_a_script_writes_into_a_scratch_directory_alone(script: Path) -> None:
    source = script.read_text(encoding="utf-8")
    if re.search(r"\"-o\"|write_|savefig|figures\.save\(|\.save\(", source):
        assert "tempfile.TemporaryDirectory()" in source


def test_every_verb_is_shown() -> None:
    shown = set().union(*map(_shown_verbs, SCRIPTS))
    assert sorted(set(VERBS) - shown) == []


def test_every_built_in_study_is_shown() -> None:
    shown = set().union(*map(_shown_studies, SCRIPTS))
    assert sorted(set(STUDIES) - shown) == []
