"""Metadata agree with each other, nothing depends on the machine it was written on, and the README is what CI runs."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
from importlib import metadata
from pathlib import Path

import mfpde

ROOT = Path(__file__).resolve().parent.parent
TEXT = {".py", ".md", ".toml", ".cfg", ".cff", ".txt", ".csv", ".mplstyle", ".sh", ""}


def _setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def _tracked() -> list[Path]:
    """Files under version control, or all that is not hidden when there is no git."""
    try:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        names = [ROOT / name for name in listed.splitlines()]
    except (OSError, subprocess.CalledProcessError):
        names = []
    if not names:
        names = [path for path in ROOT.rglob("*") if not any(part.startswith(".") for part in path.parts)]
    return [path for path in names if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts]


def _readme_commands() -> list[str]:
    """The commands of the README's fenced blocks that name no language."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block.strip() for language, block in blocks if not language]


def test_one_version_everywhere() -> None:
    assert _setup()["metadata"]["version"] == "attr: mfpde.__version__"
    assert re.fullmatch(r"\d+\.\d+\.\d+", mfpde.__version__)
    assert f"\nversion: {mfpde.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changelog, re.MULTILINE)[1] == mfpde.__version__  # type: ignore[index]
    installed = [d.version for d in metadata.distributions() if d.metadata["Name"] == "mfpde"]
    assert all(version == mfpde.__version__ for version in installed)


def test_citation_file_holds_what_the_format_requires() -> None:
    # Flat "key: value" lines and lists, the part of YAML this file keeps to.
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    keys = {line.split(":", 1)[0] for line in lines if re.match(r"[a-z-]+:", line)}
    assert {"cff-version", "message", "title", "authors", "license", "version", "date-released"} <= keys
    assert all(re.match(r"([a-z-]+:( .+)?|  - .+)$", line) for line in lines)


def test_readme_commands_are_those_of_ci() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    commands = _readme_commands()
    assert commands == ["pip install . && python -m mfpde solve", 'pip install ".[test]" && python -m pytest']
    assert commands[1] in ci
    assert commands[0].split(" && ")[1] in ci
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_readme_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "data" / "README.md"]:
        text = re.sub(r"\$\$.*?\$\$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            if not re.match(r"[a-z]+:", target):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_no_path_of_a_machine_in_any_file() -> None:
    # Spelled in pieces, so that this file does not find itself.
    homes = "|".join(("home", "Users", "root", "work", "farm", "tmp/[a-z]"))
    pattern = re.compile(rf"(?<![\w.$}}<*/-])/(?:{homes})/")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in _tracked()
        if path.suffix in TEXT and path.stat().st_size < 1 << 20
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_package_data_patterns_catch_every_file() -> None:
    patterns = _setup()["options.package_data"]["mfpde"].split()
    package = ROOT / "mfpde"
    caught = {path for pattern in patterns for path in package.glob(pattern)}
    wanted = {*package.glob("studies/*.toml"), *package.glob("figures/*.mplstyle"), *package.glob("data/*.csv")}
    assert wanted
    assert wanted <= caught
    assert package / "data" / "digits.h5" in caught


def test_every_folder_with_code_is_a_package() -> None:
    # setup.cfg finds packages by their __init__.py; a folder without one would stay behind at installation.
    folders = {path.parent for path in (ROOT / "mfpde").rglob("*.py") if "data" not in path.parts}
    assert [folder.name for folder in folders if not (folder / "__init__.py").is_file()] == []
