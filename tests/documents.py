"""What the tests of documents share: their fenced blocks, run as written, and the numbers that they quote."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
REST = "…"
"""Ends a quoted line of which only the beginning is quoted; alone on a line, it stands for any number of lines."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language ("" for a shell), its text, its line in the document."""

    language: str
    text: str
    line: int


def blocks(document: str) -> list[Block]:
    """All fenced blocks of a Markdown text, in order."""
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", document, flags=re.DOTALL | re.MULTILINE)
    return [Block(m[1], m[2], document.count("\n", 0, m.start()) + 1) for m in found]


def prose(document: str) -> str:
    """A Markdown text without its fenced blocks and the text in backticks."""
    return re.sub(r"`[^`]*`", "", re.sub(r"^```.*?^```$", "", document, flags=re.DOTALL | re.MULTILINE))


def environment(shims: Path) -> dict[str, str]:
    """Variables under which ``mfpde`` and ``python`` are this checkout and this interpreter, installed or not."""
    shims.mkdir(exist_ok=True)
    for name, command in (("mfpde", [sys.executable, "-m", "mfpde"]), ("python", [sys.executable])):
        (shims / name).write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
        (shims / name).chmod(0o755)
    return {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{shims}{os.pathsep}{os.environ['PATH']}"}


def run(block: Block, directory: Path, variables: Mapping[str, str], limit: float = 300.0) -> str:
    """Run a shell or python block as written in ``directory``; what it printed, AssertionError if it failed."""
    command = ["bash", "-euo", "pipefail", "-c"] if block.language == "" else [sys.executable, "-c"]
    done = subprocess.run(
        [*command, block.text],
        cwd=directory,
        env=dict(variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit,
        check=False,
    )
    assert done.returncode == 0, f"line {block.line}: exit {done.returncode}\n{block.text}\n{done.stdout[-3000:]}"
    return done.stdout


def missing_line(quoted: str, output: str) -> str | None:
    """The first line of ``quoted`` that ``output`` does not hold after the lines before it; None if all are there."""
    lines: Iterator[str] = iter(output.splitlines())
    for wanted in quoted.splitlines():
        if wanted.strip() not in ("", REST) and not any(agrees(wanted, line) for line in lines):
            return wanted
    return None


def agrees(quoted: str, line: str) -> bool:
    """Whether a quoted line says what ``line`` says: the same words, the same numbers to the digits quoted."""
    begins = quoted.rstrip().endswith(REST)
    wanted, found = _tokens(quoted.rstrip().removesuffix(REST)), _tokens(line)
    if len(found) < len(wanted) or (len(found) > len(wanted) and not begins):
        return False
    return all(a == b or same_number(a, b) for a, b in zip(wanted, found, strict=False))


def _tokens(line: str) -> list[str]:
    return re.findall(rf"{NUMBER.pattern}|[^\s\d]", line)


def same_number(quoted: str, other: str) -> bool:
    """Whether ``other`` is ``quoted`` to the digits of ``quoted``, give or take one in the last."""
    if not (NUMBER.fullmatch(quoted) and NUMBER.fullmatch(other)):
        return False
    mantissa, _, exponent = quoted.partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return abs(float(quoted) - float(other)) <= 1.0000001 * unit if "." in mantissa else float(quoted) == float(other)


def unfounded(text: str, outputs: Sequence[str]) -> list[str]:
    """The numbers with a decimal point in ``text`` that no output holds to the digits given."""
    held = {number for output in outputs for number in NUMBER.findall(output)}
    quoted = [number for number in NUMBER.findall(text) if "." in number]
    return [number for number in quoted if not any(same_number(number, other) for other in held)]
