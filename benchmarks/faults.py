"""What faults do to runs and files: kills, full disks, failing system calls, flipped bits, rivals, hostile input.

Every campaign counts cases and, for each promise of docs/reliability.md, how often it was broken: any makes the script
fail. Each runs in a process of its own, whose children are killed, filled up and fed.
Run: python benchmarks/faults.py [--quick] [--only NAME …]
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import RESULTS, assemble, summary_line
from installation import environment
from tables import render_table

HERE = Path(__file__).resolve().parent
COLUMNS = ["campaign", "cases", "broken promises", "besides"]

# name -> module, cases of a full run, cases of a smoke run; the function in the module has the name
CAMPAIGNS: dict[str, tuple[str, int, int]] = {
    "solve_kills": ("kills", 1000, 24),
    "compare_kills": ("kills", 40, 3),
    "signals": ("kills", 200, 12),
    "last_checkpoint": ("kills", 60, 4),
    "full_disk": ("disks", 50, 4),
    "failing_calls": ("disks", 10_000, 1),
    "flipped_bits": ("damage", 3000, 90),
    "truncations": ("damage", 1000, 30),
    "two_writers": ("rivals", 40, 2),
    "reader": ("rivals", 1000, 30),
    "hostile_files": ("hostile_input", 1000, 12),
    "fuzzed_input": ("hostile_input", 10_000, 200),
    "not_a_number": ("numbers", 1000, 6),
    "cadence": ("numbers", 1, 1),
}


def main() -> None:
    args = _arguments()
    if args.part is not None:
        _measure(args.only[0], args.quick, args.scale, args.part)
        return
    parts = []
    for name in args.only:
        print(f"{name} …", file=sys.stderr, flush=True)
        parts.append(_apart(name, args))
        print(parts[-1]["measurements"][0], file=sys.stderr, flush=True)
    report = assemble("faults", args.quick, [{**part, "tables": [], "ahead": []} for part in parts])
    rows = [part["row"] for part in parts]
    report["tables"] = [{"title": "faults", "columns": COLUMNS, "rows": rows, "note": ""}]
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(report, indent=1), encoding="utf-8")
    print(f"# faults\n\n{summary_line(report)}\n\n{render_table(report['tables'][0])}")
    if report["defects"]:
        raise SystemExit("broken promises: " + "; ".join(report["defects"]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run: few cases of each")
    parser.add_argument("--only", nargs="+", choices=CAMPAIGNS, default=list(CAMPAIGNS), metavar="NAME")
    parser.add_argument("--scale", type=float, default=1.0, metavar="F", help="so many times the cases")
    parser.add_argument("--output", type=Path, default=RESULTS / "faults.json", metavar="FILE")
    parser.add_argument("--part", type=Path, help=argparse.SUPPRESS)  # of a campaign's process: where its part goes
    return parser.parse_args()


def _apart(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Run one campaign in a clean process and read what it found."""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part.json"
        command = [sys.executable, str(HERE / "faults.py"), "--only", name, "--part", str(part)]
        command += ["--scale", str(args.scale), *["--quick"] * args.quick]
        done = subprocess.run(command, env=environment(1), stdout=subprocess.DEVNULL, check=False)
        if done.returncode != 0 or not part.is_file():
            raise SystemExit(f"the campaign {name} failed")
        found: dict[str, Any] = json.loads(part.read_text(encoding="utf-8"))
        return found


def _measure(name: str, quick: bool, scale: float, part: Path) -> None:
    """One campaign, in this process."""
    module, full, few = CAMPAIGNS[name]
    campaign: Callable[[int, Path], Any] = getattr(importlib.import_module(f"fault_campaigns.{module}"), name)
    with tempfile.TemporaryDirectory(prefix="mfpde-faults-") as folder:
        began = time.perf_counter()
        tally = campaign(max(1, int(scale * (few if quick else full))), Path(folder))
        seconds = time.perf_counter() - began
    defects = [f"{tally.name}: {count} {promise}" for promise, count in tally.broken.items() if count]
    found = {"row": tally.row(), "measurements": [{**tally.report(), "wall_s": seconds}], "defects": defects}
    part.write_text(json.dumps({**found, "blas": []}), encoding="utf-8")


if __name__ == "__main__":
    main()
