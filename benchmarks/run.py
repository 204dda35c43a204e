"""Run all benchmarks one after the other, or put their tables into pages of docs/.

python benchmarks/run.py                   every benchmark, results in benchmarks/results/*.json
python benchmarks/run.py --quick           a smoke run of each
python benchmarks/run.py --only noise      some of them
python benchmarks/run.py --docs            run nothing, write the stored tables into docs/performance.md and scaling.md
python benchmarks/run.py --docs PAGE       into another page: that of a processor of another kind
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from harness import RESULTS, summary_line
from tables import render_table

HERE = Path(__file__).resolve().parent
PAGES = tuple(HERE.parent / "docs" / name for name in ("performance.md", "scaling.md"))
SCRIPTS = (
    "machine",
    "interaction",
    "pairs",
    "stored",
    "noise",
    "fluxes",
    "ornstein_uhlenbeck",
    "transport",
    "start",
    "scaling",
    "ranks",
    "deep",
    "literature",
    "gpu",
)
BLOCK = re.compile(r"(<!-- begin (\w+)(?:: ([^>]*?))? -->\n).*?(<!-- end -->)", re.DOTALL)


def stored() -> dict[str, dict[str, Any]]:
    """The reports in results/, by benchmark."""
    found = (RESULTS / f"{name}.json" for name in SCRIPTS)
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in found if path.is_file()}


def block(name: str, words: str, reports: dict[str, dict[str, Any]]) -> str:
    """What stands between ``<!-- begin NAME: WORDS -->`` and ``<!-- end -->``.

    The tables of benchmark NAME whose title holds WORDS; NAME ``ahead``: where a peer is faster than mfpde; NAME
    ``setup``: machine and versions.
    """
    if name == "ahead":
        rows = [[bench, *row] for bench, report in reports.items() for row in report.get("ahead", [])]
        columns = ["benchmark", "where", "peer", "times faster than mfpde"]
        return render_table({"title": "", "columns": columns, "rows": rows, "note": ""}) if rows else "Nowhere."
    if name == "setup":
        return _setup(reports)
    if name not in reports:
        return "Not measured."
    chosen = [table for table in reports[name]["tables"] if words in table["title"]]
    return "\n\n".join(render_table(table) for table in chosen)


def _setup(reports: dict[str, dict[str, Any]]) -> str:
    """One line for all reports of the same machine and versions, with every BLAS that one of them loaded."""
    same: dict[str, list[dict[str, Any]]] = {}
    for report in reports.values():
        same.setdefault(json.dumps([report["machine"], report["versions"]]), []).append(report)
    lines = []
    for group in same.values():
        loaded = sorted({line for report in group for line in report["blas"]})
        days = sorted({report["created"][:10] for report in group})
        lines.append(f"- {days[0]}: {summary_line({**group[0], 'blas': loaded})}")
    return "\n".join(lines) or "Not measured."


def fill(text: str, reports: dict[str, dict[str, Any]]) -> str:
    """``text`` with every block renewed."""

    def renewed(match: re.Match[str]) -> str:
        return f"{match[1]}\n{block(match[2], match[3] or '', reports)}\n\n{match[4]}"

    return BLOCK.sub(renewed, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run of each")
    parser.add_argument("--without-peers", action="store_true", help="leave the other libraries out")
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=SCRIPTS, metavar="NAME")
    parser.add_argument("--docs", nargs="*", type=Path, metavar="PAGE", help="write the stored tables into pages")
    args = parser.parse_args()
    if args.docs is not None:
        smoke = [name for name, report in stored().items() if report["quick"]]
        if smoke:
            raise SystemExit(f"results of a smoke run are no figures: {', '.join(smoke)}")
        for page in args.docs or PAGES:
            page.write_text(fill(page.read_text(encoding="utf-8"), stored()), encoding="utf-8")
        return
    options = [flag for flag in ("--quick", "--without-peers") if getattr(args, flag[2:].replace("-", "_"))]
    failed = []
    for name in args.only:
        script = HERE / f"{name}.py"
        if not script.is_file():
            continue
        began = time.perf_counter()
        done = subprocess.run([sys.executable, str(script), *options], check=False)
        print(f"\n{name}: {time.perf_counter() - began:.0f} s\n", flush=True)
        failed += [name] if done.returncode != 0 else []
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
