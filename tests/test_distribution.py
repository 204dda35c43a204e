"""Wheel and source distribution: what they hold, and that either installs and works away from the checkout."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from email.parser import Parser
from importlib import metadata
from pathlib import Path

import pytest

import mfpde

ROOT = Path(__file__).resolve().parent.parent


def _has_build() -> bool:
    """By its metadata: a folder build/, which setuptools leaves in a checkout, can be imported too."""
    return any(found.metadata["Name"] == "build" for found in metadata.distributions())


pytestmark = [pytest.mark.slow, pytest.mark.skipif(not _has_build(), reason="needs the package build")]
MADE = (".git", ".venv", "build", "dist", "site", "auto", "*.egg-info", "__pycache__", "*.nb[ic]", ".*cache")
# a study of a second on data that come with the package
STUDY = """
[network]
activation = "tanh"
[data]
law = "empirical"
file = "data/diabetes.csv"
inputs = ["bmi"]
targets = "progression"
standardize = true
[training]
time = 0.2
[grid]
cells = [16]
[particles]
widths = [4]
replicas = 2
step = 0.1
[output]
snapshots = 2
"""


@dataclass(frozen=True)
class Distributions:
    """The source tree they were made of, and the two files."""

    tree: Path
    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """``python -m build`` of a copy: the source distribution, and the wheel out of it."""
    folder = tmp_path_factory.mktemp("distribution")
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, symlinks=True, ignore=shutil.ignore_patterns(*MADE))
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(tree)], check=True, timeout=600
    )
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    return Distributions(tree, sdist, wheel)


def _files(folder: Path) -> set[str]:
    """Files below a folder, links followed, relative to the folder that holds it."""
    found = (Path(base) / name for base, _, names in os.walk(folder, followlinks=True) for name in names)
    return {path.relative_to(folder.parent).as_posix() for path in found if "__pycache__" not in path.parts}


def test_the_sdist_holds_the_repository(made: Distributions) -> None:
    with tarfile.open(made.sdist) as archive:
        members = archive.getmembers()
    assert {member.name.split("/")[0] for member in members} == {f"mfpde-{mfpde.__version__}"}
    # mfpde/data is a link in the repository; here it must be files, which unpack anywhere
    assert all(member.isfile() or member.isdir() for member in members)
    names = {member.name.partition("/")[2] for member in members if member.isfile()}
    for folder in ("benchmarks", "data", "docs", "tests"):
        assert _files(made.tree / folder) - names == set()
    assert _files(made.tree / "mfpde") - names == {"mfpde/data/make.py"}
    assert {"README.md", "LICENSE", "CITATION.cff", "CHANGELOG.md", "setup.cfg", "pyproject.toml"} <= names
    assert made.sdist.stat().st_size < 8_000_000


def test_the_wheel_holds_the_package_whole_and_nothing_else(made: Distributions) -> None:
    with zipfile.ZipFile(made.wheel) as archive:
        names = set(archive.namelist())
    kept = {name for name in names if name.startswith("mfpde/")}
    assert kept == _files(made.tree / "mfpde") - {"mfpde/data/make.py"}
    some = "py.typed data/diabetes.csv data/digits.h5 studies/single-index.toml cli/report.css cli/report.js"
    assert {f"mfpde/{name}" for name in f"{some} io/references.bib figures/mfpde.mplstyle".split()} <= kept
    assert {name.split("/")[0] for name in names - kept} == {f"mfpde-{mfpde.__version__}.dist-info"}
    assert made.wheel.stat().st_size < 2_000_000


def test_the_wheel_says_what_it_is(made: Distributions) -> None:
    with zipfile.ZipFile(made.wheel) as archive:
        folder = f"mfpde-{mfpde.__version__}.dist-info"
        about = Parser().parsestr(archive.read(f"{folder}/METADATA").decode())
        commands = archive.read(f"{folder}/entry_points.txt").decode()
        licences = [name for name in archive.namelist() if "/licenses/" in name]
    assert (about["Name"], about["Version"], about["Requires-Python"]) == ("mfpde", mfpde.__version__, ">=3.11")
    assert about["License-Expression"] or about["License"] == "BSD-3-Clause"
    assert about.get_payload().lstrip().startswith("# mfpde")
    assert "mfpde = mfpde.cli.main:entry" in commands
    assert len(licences) == 2


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_it_installs_and_works_away_from_the_checkout(kind: str, made: Distributions, tmp_path: Path) -> None:
    """In a bare environment that borrows the dependencies of this one, so that nothing large is fetched."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    clean = {key: value for key, value in os.environ.items() if not re.match(r"PYTHON|NUMBA_|VIRTUAL_ENV", key)}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    run(str(python), "-m", "pip", "install", "--quiet", "--no-deps", str(getattr(made, kind)))
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "borrowed.pth").write_text("\n".join(borrowed) + "\n", encoding="utf-8")
    program = str(tmp_path / "venv" / "bin" / "mfpde")
    where = run(str(python), "-c", "import mfpde; print(mfpde.__file__)")
    assert where.strip() == str(packages / "mfpde" / "__init__.py")
    assert run(str(python), "-m", "mfpde", "--version").split() == ["mfpde", mfpde.__version__]
    assert "single-index" in run(program, "studies")
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    summary = json.loads(run(program, "solve", "study.toml", "-o", "out", "--json", "-q"))
    assert summary["ok"] is True
    assert summary["data"].startswith("442 rows of diabetes.csv")
    assert abs(summary["limit"]["mass_error"]) < 1e-13
    run(program, "report", "out", "-q")
    assert (tmp_path / "out" / "report.html").stat().st_size > 100_000
    assert "@software{mfpde," in run(program, "cite", "out")
