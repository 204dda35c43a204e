"""Outputs are complete or absent, readable by others, and never silently wrong; hostile files are not read."""

from __future__ import annotations

import errno
import io
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hostile
import numpy as np
import pytest

from mfpde.errors import ConfigError, DataFileError, FileSystemError, MfpdeError
from mfpde.io import atomic, config, data, store
from mfpde.io.store import Group, Variable

FLIPS, KILLS = 60, 20


def _groups(rng: np.random.Generator) -> dict[str, Group]:
    return {
        "/limit": Group(
            {
                "time": Variable(("time",), np.linspace(0.0, 1.0, 5)),
                "w0": Variable(("w0",), np.arange(6.0)),
                "w1": Variable(("w1",), np.arange(4.0)),
                "density": Variable(
                    ("time", "w0", "w1"), rng.random((5, 6, 4)), {"long_name": "density", "größe": "ö"}
                ),
                "f": Variable(("time", "node"), rng.random((5, 3))),
            },
            {"gap": 1e-10, "reason": "", "axes": ["w0", "wé"], "cells": np.array([6, 4])},
        ),
        "/history": Group({"t": Variable(("step",), np.arange(9.0)), "none": Variable(("zero",), np.zeros(0))}),
        "/ensemble/N000064": Group(
            {
                "time": Variable(("time",), np.array([0.0, 1.0])),
                "parameter": Variable(("parameter",), np.array(["a", "w0", "bé"])),
                "theta": Variable(("time", "replica", "particle", "parameter"), rng.random((2, 3, 64, 3))),
            }
        ),
        "/theory": Group(
            {"scalar": Variable((), np.array(3.0)), "flag": Variable(("x",), np.array([1, 0], dtype=np.int8))}
        ),
    }


def _attributes(finished: bool = True) -> dict[str, Any]:
    study = config.load("single-index").config
    return store.provenance(config.to_toml(study), "Größe, d = 20", 3, finished)


def _assert_equal(read: store.Contents, groups: dict[str, Group]) -> None:
    for path, group in groups.items():
        for name, variable in group.variables.items():
            found = read.groups[path].variables[name]
            assert found.dims == variable.dims
            np.testing.assert_array_equal(found.data, variable.data)
            assert dict(found.attrs) == dict(variable.attrs)


@pytest.fixture
def saved(tmp_path: Path, rng: np.random.Generator) -> tuple[Path, dict[str, Group]]:
    path, groups = tmp_path / "limit.h5", _groups(rng)
    store.write(path, groups, _attributes())
    return path, groups


# ---- round trips -----------------------------------------------------------------------------------------------


def test_round_trip(saved: tuple[Path, dict[str, Group]]) -> None:
    path, groups = saved
    read = store.read(path)
    _assert_equal(read, groups)
    assert read.groups["/limit"].attributes["gap"] == 1e-10
    assert read.groups["/limit"].attributes["reason"] == ""
    assert list(read.groups["/limit"].attributes["axes"]) == ["w0", "wé"]
    assert read.attributes["title"] == "Größe, d = 20"
    assert read.attributes["finished"] == 1
    assert config.parse(read.attributes["config"]) == config.load("single-index").config
    np.testing.assert_array_equal(read.groups["/limit"].variables["node"].data, np.arange(3))
    only = store.read(path, ["/ensemble"])
    assert sorted(only.groups) == ["/ensemble", "/ensemble/N000064"]


def test_equal_input_gives_equal_bytes(rng: np.random.Generator) -> None:
    groups, attributes = _groups(rng), _attributes()
    first = bytes(store.image(groups, attributes))
    time.sleep(1.1)  # object time stamps would have moved on
    assert bytes(store.image(groups, attributes)) == first


def test_long_studies_do_not_fit_an_attribute_and_are_kept_all_the_same(tmp_path: Path) -> None:
    study = config.parse(f'[data]\nlaw = "nodes"\nx = {[[i / 7] for i in range(9000)]}\ny = {[0.5] * 9000}\n')
    path = tmp_path / "limit.h5"
    store.write(
        path, {"/x": Group({"v": Variable(("i",), np.ones(2))})}, store.provenance(config.to_toml(study), "", 0, True)
    )
    read = store.read(path, ["/x"])
    assert config.parse(read.attributes["config"]) == study
    assert list(read.groups) == ["/x"]
    assert store.outline(path)["attributes"]["config"] == read.attributes["config"]


def test_scalars_and_empty_arrays_lie_in_the_checksummed_header(saved: tuple[Path, dict[str, Group]]) -> None:
    path, _ = saved
    for name, value in (("x", 3.1), ("y", 7.3)):
        path.write_bytes(store.image({"/theory": Group({name: Variable((), np.array(value))})}, _attributes()))
        whole = path.read_bytes()
        at = whole.index(np.float64(value).tobytes())
        for bit in range(64):
            damaged = bytearray(whole)
            damaged[at + bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            with pytest.raises(DataFileError):
                store.read(path)


def test_large_arrays_are_chunked_by_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "limit.h5"
    density = np.zeros((3, 1200, 1000))
    store.write(path, {"/limit": Group({"density": Variable(("time", "w0", "w1"), density)})}, _attributes())
    with h5py.File(path) as file:
        assert file["/limit/density"].chunks == (1, 600, 1000)
        assert file["/limit/density"].fletcher32


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_xarray_opens_every_group(saved: tuple[Path, dict[str, Group]], engine: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # only the import may complain
        xarray = pytest.importorskip("xarray")
        pytest.importorskip("h5netcdf")
        pytest.importorskip("netCDF4")
    path, groups = saved
    for name, group in groups.items():
        with xarray.open_dataset(path, group=name, engine=engine) as found:
            found.load()
            for key, variable in group.variables.items():
                assert found[key].dims == variable.dims
                assert found[key].attrs["axes"].split() == list(variable.dims)
                if variable.data.dtype.kind != "U":
                    np.testing.assert_array_equal(found[key].values, variable.data)
    with xarray.open_dataset(path, engine=engine) as root:
        assert root.attrs["title"] == "Größe, d = 20"
        assert root.attrs["Conventions"] == "mfpde-1"
        assert not root.sizes
    with xarray.open_datatree(path, engine=engine) as tree:
        tree.load()
        assert tree["/limit"]["density"].sel(time=0.25, w0=2.0).shape == (4,)


def test_groups_that_xarray_could_not_align_are_refused() -> None:
    axis = Variable(("time",), np.zeros(2))
    with pytest.raises(ValueError, match="share an axis"):
        store.image({"/a": Group({"time": axis}), "/a/b": Group({"time": axis})}, {})
    with pytest.raises(ValueError, match="elsewhere"):
        store.image({"/a": Group({"time": axis, "x": Variable(("time",), np.zeros(3))})}, {})
    with pytest.raises(TypeError):
        store.image({"/a": Group({"x": Variable(("x",), np.array([None]))})}, {})


# ---- faults ----------------------------------------------------------------------------------------------------

_WRITER = """
import sys, numpy as np
from mfpde.io import store
path, count = sys.argv[1], 0
with store.lock(path):
    print("ready", flush=True)
    while True:
        count += 1
        values = np.full((40, 5000), float(count))
        store.write(path, {"/limit": store.Group({"x": store.Variable(("time", "node"), values)})},
                    store.provenance("", "", count, False))
"""


def test_a_killed_writer_leaves_a_readable_file(tmp_path: Path) -> None:
    path, chance = tmp_path / "limit.h5", random.Random(1)
    store.write(path, {"/limit": Group({"x": Variable(("i",), np.zeros(1))})}, store.provenance("", "", 0, False))
    for _ in range(KILLS):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        with writer.stdout:
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(chance.random() * 0.05)
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        read = store.read(path)
        assert np.all(read.groups["/limit"].variables["x"].data == read.attributes["seed"])
    with store.lock(path):
        pass
    assert [item.name for item in tmp_path.iterdir()] == ["limit.h5"]


def test_every_system_call_may_fail_and_the_old_file_stays(
    saved: tuple[Path, dict[str, Group]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, groups = saved
    before = path.read_bytes()
    new = bytes(store.image({"/x": Group()}, {}))
    for call, code in (("open", errno.EROFS), ("write", errno.ENOSPC), ("fsync", errno.EIO), ("replace", errno.EACCES)):
        with monkeypatch.context() as patch:

            def fail(*_: object, code: int = code, **__: object) -> None:
                raise OSError(code, os.strerror(code))

            patch.setattr(os, call, fail)
            with pytest.raises(FileSystemError) as caught:
                atomic.save(path, new)
        assert caught.value.exit_code == 6
        assert str(path) in str(caught.value)
        assert path.read_bytes() == before
        assert [item.name for item in path.parent.iterdir()] == ["limit.h5"]
    _assert_equal(store.read(path), groups)


def test_a_disk_that_fills_up_in_the_middle(
    saved: tuple[Path, dict[str, Group]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = saved
    before, genuine, written = path.read_bytes(), os.write, []

    def short(descriptor: int, chunk: memoryview) -> int:
        if sum(written) >= 1000:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(genuine(descriptor, chunk[:300]))
        return written[-1]

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        with pytest.raises(FileSystemError, match="no space left"):
            atomic.save(path, bytes(5000))
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == ["limit.h5"]


def test_the_order_of_system_calls_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("write", "fsync", "replace"):
        genuine = getattr(os, name)

        def spy(*args: Any, name: str = name, genuine: Callable[..., Any] = genuine) -> Any:
            calls.append(name)
            return genuine(*args)

        monkeypatch.setattr(os, name, spy)
    atomic.save(tmp_path / "x", b"abc")
    assert calls == ["write", "fsync", "replace", "fsync"]


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none" / "x.h5", tmp_path / ("n" * 300)):
        with pytest.raises(FileSystemError, match="cannot write"):
            atomic.save(path, b"x")
        assert not list(tmp_path.iterdir())


def test_a_second_writer_is_told_who_has_the_file(tmp_path: Path) -> None:
    path = tmp_path / "limit.h5"
    with store.lock(path):
        with (
            pytest.raises(FileSystemError, match=rf"in use by another mfpde \(process {os.getpid()}\)"),
            store.lock(path),
        ):
            pass
        with store.lock(tmp_path / "other.h5"):
            pass
    with store.lock(path):
        pass
    with store.lock(tmp_path):
        assert (tmp_path / ".mfpde.lock").exists()
    assert not list(tmp_path.iterdir())


def test_litter_of_a_killed_run_is_swept(tmp_path: Path) -> None:
    names = ["limit.h5.12-0123abcd.part", "limit.h5.part", "other.h5.12-0123abcd.part"]
    for name in names:
        (tmp_path / name).touch()
    with store.lock(tmp_path / "limit.h5"):
        assert {item.name for item in tmp_path.iterdir()} == {*names[1:], "limit.h5.lock"}
    with store.lock(tmp_path):
        assert {item.name for item in tmp_path.iterdir()} == {"limit.h5.part", ".mfpde.lock"}


# ---- corruption ------------------------------------------------------------------------------------------------


def _flip(path: Path, groups: dict[str, Group], position: int, whole: bytes, attributes: dict[str, Any]) -> bool:
    """Flip one bit; True if that raised, False if every value and attribute still reads the same."""
    damaged = bytearray(whole)
    damaged[position // 8] ^= 1 << position % 8
    path.write_bytes(damaged)
    try:
        read = store.read(path)
    except DataFileError:
        return True
    _assert_equal(read, groups)
    assert read.attributes == attributes
    return False


def test_flipped_bits_are_errors_or_harmless(saved: tuple[Path, dict[str, Group]]) -> None:
    path, groups = saved
    whole, chance, attributes = path.read_bytes(), random.Random(2), store.read(path).attributes
    noticed = sum(_flip(path, groups, chance.randrange(8 * len(whole)), whole, attributes) for _ in range(FLIPS))
    assert noticed > FLIPS / 3  # the rest fell into unused space


@pytest.mark.slow
def test_three_thousand_flipped_bits(saved: tuple[Path, dict[str, Group]]) -> None:
    path, groups = saved
    whole, chance, attributes = path.read_bytes(), random.Random(3), store.read(path).attributes
    for _ in range(3000):
        _flip(path, groups, chance.randrange(8 * len(whole)), whole, attributes)


def test_truncated_files_are_errors(saved: tuple[Path, dict[str, Group]]) -> None:
    path, _ = saved
    whole = path.read_bytes()
    for length in [*range(0, 60, 7), *range(100, len(whole), len(whole) // 25), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DataFileError):
            store.read(path)


def test_a_study_text_that_was_edited_is_noticed(saved: tuple[Path, dict[str, Group]]) -> None:
    path, _ = saved
    with h5py.File(path, "r+") as file:
        file.attrs["config"] = np.bytes_("x = 1")
    with pytest.raises(DataFileError, match="config_sha256"):
        store.read(path)


# ---- hostile files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", hostile.KINDS)
def test_hostile_files_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.h5"
    hostile.write(kind, path, tmp_path / "secret.txt")
    started = time.perf_counter()
    with pytest.raises(DataFileError) as caught:
        store.read(path)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    assert time.perf_counter() - started < 1.0
    if kind in hostile.AS_DATA:  # a data table named by a study meets the same guard
        with pytest.raises(DataFileError):
            data.read_table(path, "limit/x", "limit/x")


def test_other_files_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with pytest.raises(FileSystemError, match="No such file"):
        store.read(path)
    with pytest.raises(FileSystemError, match="directory"):
        store.read(tmp_path)
    path.write_text("time,x\n")
    with pytest.raises(DataFileError, match="not an HDF5 file"):
        store.read(path)
    with h5py.File(path, "w"):
        pass
    with pytest.raises(DataFileError, match="not an mfpde output"):
        store.read(path)
    store.write(path, {}, {**_attributes(), "schema": store.SCHEMA + 1})
    with pytest.raises(DataFileError, match="schema 2"):
        store.read(path)


# ---- data tables -----------------------------------------------------------------------------------------------


def _csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode("latin-1"))
    return path


def test_the_same_table_from_three_formats(tmp_path: Path, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(20, 2)), rng.normal(size=20)
    np.savez(tmp_path / "t.npz", x=x, y=y)
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["set/x"], file["set/y"] = x, y
        file.attrs["note"] = "text of variable length is nobody's business here"
    lines = ["# a comment", "u,v,y", *(f"{a!r},{b!r},{c!r}" for (a, b), c in zip(x.tolist(), y.tolist(), strict=True))]
    _csv(tmp_path, "\n".join(lines))
    for file_name, inputs, target in (("t.npz", "x", "y"), ("t.h5", "set/x", "/set/y"), ("table.csv", ["u", "v"], "y")):
        found = data.read_table(tmp_path / file_name, inputs, target)
        np.testing.assert_array_equal(found[0], x)
        np.testing.assert_array_equal(found[1], y)
        assert "20 rows" in found[2]
    part = data.read_table(tmp_path / "t.npz", "x", "y", rows=(3, 7), standardize=True)
    np.testing.assert_allclose(part[0].mean(axis=0), 0.0, atol=1e-15)
    np.testing.assert_allclose(part[0].var(axis=0), 1.0, rtol=1e-14)
    np.testing.assert_allclose(part[0], (x[3:7] - x[3:7].mean(axis=0)) / x[3:7].std(axis=0), rtol=1e-13)
    np.testing.assert_allclose([part[1].mean(), part[1].var()], [0.0, 1.0], atol=1e-14)


def test_classes_and_constant_columns(tmp_path: Path) -> None:
    path = _csv(tmp_path, "u;c;k\n1;5;3\n2;5;8\n3;5;4\n5;5;8\n")
    x, y, _ = data.read_table(path, ["u", "c"], "k", standardize=True, classes=(3.0, 8.0))
    np.testing.assert_array_equal(y, [-1.0, 1.0, 1.0])
    np.testing.assert_array_equal(x[:, 1], 0.0)
    np.testing.assert_allclose(x[:, 0], (np.array([1, 2, 5]) - 8 / 3) / np.std([1, 2, 5]), rtol=1e-14)
    with pytest.raises(ConfigError, match=r"data\.classes names 7.*it has 3, 4, 8"):
        data.read_table(path, "u", "k", classes=(3.0, 7.0))


@pytest.mark.parametrize(
    ("text", "kind", "part"),
    [
        ("a,b\n1,2\n3,x\n", DataFileError, "line 3, column b: holds 'x'"),
        ("a,b\n1,1_0\n", DataFileError, "line 2, column b: holds '1_0'"),
        ("a,b\n1,2\n3\n", DataFileError, "line 3 has 1 fields"),
        ("a,b\n1,2\n4,nan\n", DataFileError, "row 1, column b is nan"),
        ("a,b\ninf,2\n", DataFileError, "column a is inf"),
        ("a,b\n1e200,2\n", DataFileError, "column a is 1e+200"),
        ("a,b\n1,\n", DataFileError, "column b: is empty"),
        ("", DataFileError, "empty"),
        ("a,b\n", DataFileError, "no rows"),
        ('a,b\n1,"2\n2"\n', DataFileError, "spans lines"),
        ("\0\0", DataFileError, "neither"),
        ("PK\x03\x04....", DataFileError, "npz"),
        ("\x89HDF\r\n\x1a\n" + "." * 99, DataFileError, "damaged"),
        ("a,c\n1,2\n", ConfigError, 'data.targets names "b"'),
        ("aa,b\n1,2\n", ConfigError, 'data.inputs names "a"'),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, kind: type[MfpdeError], part: str) -> None:
    path = _csv(tmp_path, text)
    with pytest.raises(kind) as caught:
        data.read_table(path, ["a"], "b")
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1,2\n3,4\n", "the first line has to name the columns"),
        ("aa,b\n1,2\n", "did you mean 'aa'?"),
        ("a,b\n1,\n", "every row needs a number in every column that the study names"),
    ],
)
def test_a_bad_table_comes_with_what_to_do(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(MfpdeError) as caught:
        data.read_table(_csv(tmp_path, text), ["a"], "b")
    assert caught.value.hint == hint


def test_bad_binary_tables(tmp_path: Path, rng: np.random.Generator) -> None:
    np.savez(tmp_path / "t.npz", x=rng.random((5, 2)), y=np.ones(5), z=np.ones(4), o=np.array([{}]), s=np.array(["a"]))
    for inputs, target, kind, part in (
        ("x", "z", DataFileError, "x has 5 rows"),
        ("o", "y", DataFileError, "allow_pickle"),
        ("s", "y", DataFileError, "numbers are needed"),
        ("x", "x", ConfigError, "one is allowed"),
        ("q", "y", ConfigError, "data.inputs"),
    ):
        with pytest.raises(kind, match=part):
            data.read_table(tmp_path / "t.npz", inputs, target)
    with pytest.raises(ConfigError, match=r"data\.rows is 6"):
        data.read_table(tmp_path / "t.npz", "x", "y", rows=6)
    with pytest.raises(ConfigError, match="does not exist"):
        data.read_table(tmp_path / "none.npz", "x", "y")
    whole = (tmp_path / "t.npz").read_bytes()
    chance = random.Random(4)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        (tmp_path / "t.npz").write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                data.read_table(tmp_path / "t.npz", "x", "y")
            except MfpdeError:
                pass


def test_image_opens_from_memory(rng: np.random.Generator) -> None:
    with h5py.File(io.BytesIO(store.image(_groups(rng), _attributes())), "r") as file:
        assert list(file["/limit"])[:3] == ["time", "w0", "w1"]
