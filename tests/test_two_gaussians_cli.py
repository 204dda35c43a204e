"""Studies of two Gaussians from the command line: atoms, a grid without noise, SGD, and what is said of the mass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfpde.cli.coordinates import Coordinate, free_coordinates, with_columns
from mfpde.cli.main import main
from mfpde.io import build, config, studies

SMALL = ["--set", "output.snapshots=5", "--set", "data.quadrature=16", "--set", "particles.widths=[20,40]"]
SMALL += ["--set", "particles.step=1e-3"]


def solve(directory: Path, name: str, *arguments: str) -> dict[str, Any]:
    """summary.json of a run."""
    assert main(["solve", name, "-o", str(directory), "-q", "--no-figures", *SMALL, *arguments]) == 0
    return json.loads((directory / "summary.json").read_text())


@pytest.mark.parametrize("name", ["mei-isotropic", "mei-anisotropic", "mei-failure"])
def test_the_built_in_studies_are_those_of_the_papers(name: str) -> None:
    loaded = config.load(name)
    study = build.build(loaded.config, name, None)
    population = study.problem.data.population
    blocks = {"mei-isotropic": (40,), "mei-anisotropic": (16, 144), "mei-failure": (320,)}[name]
    assert study.problem.data.blocks == population.blocks == blocks
    assert study.problem.temperature == 0.0 and loaded.config.particles.dynamics == "sgd"
    assert studies.text(name).startswith("#")
    # every one of them says which clock it counts
    assert "twice" in studies.text(name) or "theirs" in studies.text(name)


def test_atoms_and_grid_and_sgd_of_the_isotropic_study(tmp_path: Path) -> None:
    """At the papers' t = 1, by three of the ways there are."""
    atoms = solve(tmp_path / "atoms", "mei-isotropic", "--set", "training.time=2.0")
    grid = solve(
        tmp_path / "grid", "mei-isotropic", "--set", "training.time=2.0", "--set", "grid.flux=limited",
        "--set", "grid.cells=[400]", "--set", "grid.bounds=[[0.0, 3.0]]", "--only", "limit",
    )  # fmt: skip
    limit = atoms["limit"]
    assert limit["kind"] == "atoms" and limit["origin_mass"] == {"w": 0.0}
    assert 2.0 * limit["risk"] == pytest.approx(1.070607, abs=1e-5)
    assert grid["limit"]["kind"] == "grid" and grid["limit"]["flux"] == "limited"
    assert grid["limit"]["risk"] == pytest.approx(limit["risk"], abs=1e-4)
    assert grid["limit"]["moments"]["w"][:2] == pytest.approx(limit["moments"]["w"][:2], abs=1e-3)
    assert grid["limit"]["mass_error"] < 1e-13 and grid["limit"]["energy_increases"] == 0
    assert grid["limit"]["origin_mass"]["w"] < 1e-30
    assert grid["stationary"] is None and atoms["stationary"] is None
    # E |f_N - f|^2 = Var phi / N, and two replicas
    errors = [p["function_error"] for p in atoms["particles"]]
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.6)
    assert "fresh samples" in atoms["forces"]["description"]


def test_a_start_that_is_absorbed_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = solve(
        tmp_path / "x", "mei-failure", "--set", "initial.w.std=0.1", "--set", "training.time=0.2", "--only", "limit"
    )
    assert found["limit"]["origin_mass"]["w"] == pytest.approx(1.0, rel=1e-12)
    assert found["limit"]["risk"] == pytest.approx(3.625, rel=1e-12)
    assert "mass at r = 0    1 (w)" in capsys.readouterr().out


def test_gradient_descent_with_copies_behind_the_two_gaussians(tmp_path: Path) -> None:
    """Particles in R^10 and copies in the limit's field: their distance falls like 1/N."""
    found = solve(
        tmp_path / "x", "mei-isotropic", "--set", "data.dimension=10", "--set", "training.time=0.5",
        "--set", "particles.dynamics=gradient", "--set", "particles.coupling=synchronous",
        "--set", "particles.step=0.02",
        "--set", "particles.widths=[16,64]", "--set", "particles.replicas=16", "--set", "particles.nodes=8192",
    )  # fmt: skip
    assert -1.35 < found["rates"]["coupling_error"]["slope"] < -0.75
    assert -1.35 < found["rates"]["function_error"]["slope"] < -0.75


def test_a_grid_without_noise_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    from mfpde.io import limit

    loaded = config.load(
        "mei-isotropic",
        ["grid.flux=limited", "grid.cells=[100]", "grid.bounds=[[0.0,2.0]]", "training.time=0.4", "output.snapshots=5"],
    )
    study = build.build(loaded.config, "mei-isotropic", None)
    whole = limit.run_limit(study, str(tmp_path / "whole.h5"))

    def stop(time: float, energy: float, gap: float) -> None:
        if time > 0.21:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        limit.run_limit(study, str(tmp_path / "part.h5"), report=stop)
    again = limit.run_limit(study, str(tmp_path / "part.h5"), resume=True)
    assert np.array_equal(again.density, whole.density)
    assert again.finished and again.rest is None


def test_the_columns_behind_two_radii() -> None:
    """Figures take the informative inputs for w0 and the others for w1, with a limit and without."""
    names = ("a", *(f"w{k}" for k in range(7)))
    study = {"data": {"law": "two-gaussians", "dimension": 7, "informative": 3}}
    radii = (Coordinate("w0", "radius"), Coordinate("w1", "radius"))
    found = with_columns(radii, names, study)
    assert [c.columns for c in found] == [(1, 2, 3), (4, 5, 6, 7)]
    assert free_coordinates(list(names[1:]), study) == radii
    single = with_columns((Coordinate("w", "radius"),), names, {"data": {"law": "two-gaussians", "dimension": 7}})
    assert single[0].columns == (1, 2, 3, 4, 5, 6, 7)
    last = with_columns((radii[0], Coordinate("w1", "line")), names, {"data": {**study["data"], "informative": 6}})
    assert [c.columns for c in last] == [(1, 2, 3, 4, 5, 6), (7,)]


@pytest.mark.parametrize("topic", ["identify", "atoms", "cell"])
def test_theory_that_needs_expansions_refuses_in_a_sentence(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theory", topic, "mei-isotropic"]) == 2
    assert "network.activation" in capsys.readouterr().err
    smooth = ["network.activation=erf", "network.knots=[]", "network.slopes=[]", "network.value=0.0"]
    assert main(["theory", topic, "mei-isotropic", *(x for s in smooth for x in ("--set", s))]) == 2
    assert 'data.law is "two-gaussians"' in capsys.readouterr().err
