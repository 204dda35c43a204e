"""``benchmarks/literature.py``: what it compares agrees, what does not is a defect, the script runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def literature(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with the modules it shares."""
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("harness", "installation", "literature", "tables"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import literature

    return literature


@pytest.mark.parametrize(
    "name", [pytest.param("linear", marks=pytest.mark.slow), "quadratic", "bumps", "transitions", "trajectories"]
)
def test_a_comparison_holds(literature: ModuleType, name: str) -> None:
    harness = sys.modules["harness"]
    part = harness.Part()
    getattr(literature, name)(part, harness.Setting(threads=1, quick=True, peers=False))
    assert part.defects == [] and part.measurements
    assert all(row[0] for table in part.tables for row in table.rows)


def test_a_wrong_value_is_a_defect(literature: ModuleType) -> None:
    part = sys.modules["harness"].Part()
    check = literature.Check(part, "a table")
    check.add("right", 1.0, 1.0 + 1e-9, 1e-8)
    check.add("wrong", 1.0, 0.5, 1e-8)
    check.add("not a number", 1.0, float("nan"), 1e-8)
    assert [line.split(":")[0] for line in part.defects] == ["a table, wrong", "a table, not a number"]


@pytest.mark.slow
def test_the_script_writes_tables_and_json(tmp_path: Path) -> None:
    target = tmp_path / "literature.json"
    done = subprocess.run(
        [sys.executable, str(FOLDER / "literature.py"), "--quick", "--output", str(target)],
        check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "**Quadratic neurons, d = 3 (E2)**" in done.stdout
    assert json.loads(target.read_text(encoding="utf-8"))["defects"] == []
