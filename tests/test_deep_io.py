"""Runs and files of ``mfpde deep``: the same bytes however the work is cut, interrupted or shared; the layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from deep_studies import SMALL, date_of_files, written

from mfpde.errors import DataFileError
from mfpde.io import store
from mfpde.io.deep import build, config, file, work
from mfpde.io.deep.data import read_samples
from mfpde.io.deep.estimate import estimate, rank, seconds_of
from mfpde.io.deep.findings import Findings
from mfpde.io.deep.run import run_study
from mfpde.io.deep.work import Task, merged, tasks_of

STOCHASTIC = ["training.batch=2", "training.momentum=0.5", "network.bias=true"]


@pytest.fixture(autouse=True)
def _one_date(monkeypatch: pytest.MonkeyPatch) -> None:
    date_of_files(monkeypatch)


def run(
    directory: Path,
    name: str,
    *overrides: str,
    text: str = SMALL,
    only: str | None = None,
    resume: bool = False,
    processes: int = 1,
    checkpoint: float = 1e9,
    stop_after: int | None = None,
) -> tuple[Path, Findings | None]:
    """The file and the findings of a run, which ``stop_after`` so many reports is interrupted."""
    study = config.load(written(directory, text), overrides)
    reports = 0

    def report(share: float) -> None:
        nonlocal reports
        reports += 1
        assert 0.0 < share <= 1.0 + 1e-12
        if reports == stop_after:
            raise KeyboardInterrupt

    path = directory / name
    settings = {"only": only, "resume": resume, "processes": processes, "checkpoint": checkpoint}
    if stop_after is None:
        return path, run_study(study, read_samples(study), str(path), report=report, **settings)
    with pytest.raises(KeyboardInterrupt):
        run_study(study, read_samples(study), str(path), report=report, **settings)
    return path, None


# ---- the same bytes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop, overrides", [(1, []), (6, []), (3, STOCHASTIC), (3, ["network.activation='identity'"])])
def test_an_interrupted_run_ends_in_the_same_bytes(stop: int, overrides: list[str], tmp_path: Path) -> None:
    short = [*overrides, "training.steps=3", "limit.replicates=2", "finite.widths=[8]", "finite.seeds=5"]
    whole, _ = run(tmp_path, "whole.h5", *short)
    # with a checkpoint at every moment a piece is a single step
    part, _ = run(tmp_path, "part.h5", *short, checkpoint=0.0, stop_after=stop)
    assert not store.read(part).attributes["finished"]
    run(tmp_path, "part.h5", *short, resume=True)
    assert part.read_bytes() == whole.read_bytes()


def test_any_number_of_processes_gives_the_same_bytes(tmp_path: Path) -> None:
    one, _ = run(tmp_path, "one.h5")
    two, _ = run(tmp_path, "two.h5", processes=2)
    assert one.read_bytes() == two.read_bytes()


def test_a_finished_file_is_read_and_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, first = run(tmp_path, "a.h5")
    before = path.read_bytes()
    monkeypatch.setattr("mfpde.io.deep.run.run_piece", lambda job, seconds, piece: pytest.fail("computed again"))
    _, again = run(tmp_path, "a.h5", resume=True)
    assert path.read_bytes() == before
    assert first is not None and again is not None and first.limit is not None and again.limit is not None
    assert np.array_equal(first.limit.summary.mean.f, again.limit.summary.mean.f)


def test_the_parts_of_a_study_may_come_one_after_the_other(tmp_path: Path) -> None:
    whole, _ = run(tmp_path, "whole.h5")
    for order in (("limit", "widths"), ("widths", "limit")):
        path, found = run(tmp_path, f"{order[0]}.h5", only=order[0])
        assert found is not None and (found.limit is None) == (order[0] == "widths")
        groups = store.read(path).groups
        assert ("/limit" in groups, "/ensemble/mup/N000008" in groups) == (order[0] == "limit", order[0] == "widths")
        run(tmp_path, f"{order[0]}.h5", only=order[1], resume=True)
        assert path.read_bytes() == whole.read_bytes()


def test_seeds_are_the_same_however_they_are_dealt_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = run(tmp_path, "whole.h5", only="widths")
    monkeypatch.setattr(work, "chunk_size", lambda problem, width: 3)
    study = config.load(written(tmp_path))
    problem = build.job(study.config, read_samples(study)).problem
    assert [(t.width, t.first, t.count) for t in tasks_of(study.config, problem, "widths") if t.kind == "mup"] == [
        (32, 0, 3), (32, 3, 1), (8, 0, 3), (8, 3, 3), (8, 6, 1),
    ]  # fmt: skip
    part, _ = run(tmp_path, "part.h5", only="widths", checkpoint=0.0, stop_after=1)
    assert "/restart/mup/N000032/S000000" in store.read(part).groups
    run(tmp_path, "part.h5", only="widths", resume=True)
    one, other = store.read(whole).groups, store.read(part).groups
    for name, group in one.items():
        for key, variable in group.variables.items():
            assert other[name].variables[key].data == pytest.approx(variable.data, rel=1e-13, abs=1e-15, nan_ok=True)
    assert np.array_equal(
        one["/ensemble/mup/N000008"].variables["f"].data, other["/ensemble/mup/N000008"].variables["f"].data
    )


def test_merging_weighs_kernels_by_their_seeds() -> None:
    def record(seeds: list[int], phi: float) -> work.Record:
        times = np.array([0, 1])
        return {"seeds": np.array(seeds), "times": times, "f": np.array(seeds) * 1.0, "phi": np.array([phi])}

    found = merged([record([0, 1, 2], 1.0), record([3], 5.0)])
    assert found["seeds"].tolist() == [0, 1, 2, 3]
    assert found["phi"].tolist() == [2.0]
    assert found["times"].tolist() == [0, 1]


# ---- the file --------------------------------------------------------------------------------------------------------


def test_the_layout_opens_with_all_axes_labelled(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    path, found = run(tmp_path, "a.h5")
    assert found is not None and found.limit is not None
    with xarray.open_dataset(path, group="limit", engine="h5netcdf") as limit:
        assert limit["f"].dims == ("replicate", "step", "sample", "output")
        assert limit["phi"].dims == ("replicate", "step", "layer", "probe", "with")
        assert limit["step"].values.tolist() == list(range(7))
        assert limit["test_f"].shape == (3, 2, 1)
        assert np.array_equal(limit["f"].mean("replicate").values, found.limit.summary.mean.f)
    with xarray.open_dataset(path, group="ensemble/mup/N000032", engine="h5netcdf") as wide:
        assert wide["feature_change"].dims == ("seed", "step", "layer")
        assert wide["f"].shape == (4, 7, 3, 1)
    with xarray.open_dataset(path, group="theory/limit", engine="h5netcdf") as theory:
        assert theory["loss_sem"].dims == ("step",)
    contents = store.read(path)
    assert contents.attributes["finished"] == 1 and contents.attributes["kind"] == "deep"
    assert config.parse(contents.attributes["config"]) == config.load(written(tmp_path)).config
    groups = set(contents.groups)
    assert {"/data", "/theory/certificate", "/theory/kernel_bound", "/compare/mup", "/compare/ntk"} <= groups
    assert not any(name.startswith("/restart") for name in groups)


def test_a_file_of_another_study_is_refused(tmp_path: Path) -> None:
    run(tmp_path, "a.h5", only="limit")
    with pytest.raises(DataFileError, match="was made by another study"):
        run(tmp_path, "a.h5", "output.seed=1", resume=True)
    store.write(tmp_path / "b.h5", {}, {**store.provenance("", "", 0, True), "kind": "limit"})
    with pytest.raises(DataFileError, match="holds the kind 'limit', not 'deep'"):
        run(tmp_path, "b.h5", resume=True)


def test_the_beginning_of_a_replicate_is_kept_with_its_state(tmp_path: Path) -> None:
    path, _ = run(tmp_path, "a.h5", checkpoint=0.0, stop_after=3)
    progress = file.load(str(path), config.load(written(tmp_path)).config)
    ((task, (record, state)),) = progress.begun.items()
    assert task == Task("limit", 0, 0, 1)
    assert record["times"].tolist() == [0, 1, 2]
    assert "clock" in state and any("/" in name for name in state)


# ---- what follows ----------------------------------------------------------------------------------------------------


def test_findings_are_those_of_the_records(tmp_path: Path) -> None:
    path, found = run(tmp_path, "a.h5")
    assert found is not None and found.limit is not None
    groups = store.read(path).groups
    f = groups["/limit"].variables["f"].data
    assert found.limit.summary.mean.f == pytest.approx(f.mean(axis=0))
    losses = groups["/limit"].variables["loss"].data
    assert found.limit.loss.sem == pytest.approx(losses.std(axis=0, ddof=1) / np.sqrt(3))
    phi = groups["/limit"].variables["phi"].data.mean(axis=0)
    assert found.limit.layers["feature_eigenvalue"].mean == pytest.approx(np.linalg.eigvalsh(phi)[..., 0])
    one = found.finite["mup"][0]
    own = groups["/ensemble/mup/N000008"].variables["f"].data
    away = np.sqrt(np.mean((own - f.mean(axis=0)) ** 2, axis=(1, 2, 3)))
    assert one.distance is not None and one.distance.mean == pytest.approx(away.mean())
    test_away = groups["/ensemble/mup/N000008"].variables["test_f"].data - groups["/limit"].variables[
        "test_f"
    ].data.mean(0)
    assert one.test_distance is not None
    assert one.test_distance.mean == pytest.approx(np.sqrt(np.mean(test_away**2, axis=(1, 2))).mean())


def test_equal_seeds_share_no_numbers_between_studies(tmp_path: Path) -> None:
    _, one = run(tmp_path, "a.h5", "finite.widths=[8]", "finite.seeds=7")
    _, other = run(tmp_path, "b.h5", "finite.widths=[8]", "finite.seeds=7", "output.seed=1")
    assert one is not None and other is not None
    assert set(one.finite["mup"][0].record["seeds"]).isdisjoint(other.finite["mup"][0].record["seeds"])
    assert not np.array_equal(one.finite["mup"][0].record["f"][:, 1], other.finite["mup"][0].record["f"][:, 1])


def test_the_estimate_grows_with_the_work() -> None:
    small = config.parse(SMALL)
    shape = (3, 3)
    assert rank(config.load("deep-toy").config, 8) == pytest.approx(191, abs=1)
    base = seconds_of(small, shape, "limit", 0, 1)
    assert seconds_of(config.parse(SMALL, ["limit.samples=512"]), shape, "limit", 0, 1) == pytest.approx(2 * base)
    assert seconds_of(small, shape, "mup", 64, 2) == pytest.approx(2 * seconds_of(small, shape, "mup", 64, 1))
    wide = estimate(config.parse(SMALL, ["finite.widths=[8,2048]"]), shape, 2, None)
    narrow = estimate(small, shape, 2, None)
    assert wide["seconds"] > 100 * narrow["seconds"]
    assert narrow["tasks"] == 3 + 4 and narrow["processes"] == 2
    assert estimate(small, shape, 8, "limit")["tasks"] == 3
