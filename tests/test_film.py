"""``mfpde plot --animate``: a frame per stored time, one scale for all, and films that players can read."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import numpy as np
import pytest
from command_line import measured
from PIL import Image

from mfpde.figures import Row, film
from mfpde.io import store
from mfpde.io.store import Group, Variable

TIMES = np.array([0.0, 0.5, 1.0, 2.0])
X = (np.arange(40) + 0.5) / 10.0 - 2.0


def _rows() -> list[Row]:
    """A Gaussian that moves to the right and widens, with particles at its centre."""
    centers, widths = 0.4 * TIMES - 0.6, 0.2 + 0.1 * TIMES
    bell = np.exp(-0.5 * ((X[:, None, None] - centers) ** 2 + X[:, None] ** 2) / widths**2) / (2 * np.pi * widths**2)
    dots = np.stack([np.repeat(centers[:, None], 5, axis=1), np.zeros((4, 5))], axis=-1)
    return [Row(["a", "w"], ["line", "line"], [X, X], np.moveaxis(bell, -1, 0), particles=dots)]


def _ink(picture: np.ndarray) -> float:
    """Mean column of what is coloured blue: left to right in shares of the width."""
    blue = np.clip(picture[..., 2].astype(float) - picture[..., 0], 0.0, None)
    blue[:, int(0.8 * blue.shape[1]) :] = 0.0  # the colour bar
    blue[int(0.85 * blue.shape[0]) :] = 0.0  # the legend
    return float(blue.sum(axis=0) @ np.arange(blue.shape[1]) / blue.sum() / blue.shape[1])


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return list(film.frames(TIMES, _rows(), range(4)))


def test_frames_are_equal_in_size_and_share_axes_and_colours(pictures: list[np.ndarray]) -> None:
    assert len({picture.shape for picture in pictures}) == 1
    height, width = pictures[0].shape[:2]
    assert height % 2 == width % 2 == 0
    frame = [picture[int(0.82 * height) :, :] for picture in pictures]  # ticks, labels and legend below
    assert all(np.array_equal(frame[0], other) for other in frame[1:])
    bar = [picture[:, int(0.86 * width) :] for picture in pictures]
    assert all(np.array_equal(bar[0], other) for other in bar[1:])
    places = [_ink(picture) for picture in pictures]
    assert np.all(np.diff(places) > 0.01)
    # on one scale of colours the peak, which falls to a quarter, becomes lighter
    inside = [picture[: int(0.7 * height), : int(0.8 * width), 0] for picture in pictures]
    dark = [float(np.sort(reds, axis=None)[800]) for reds in inside]
    assert dark[0] < dark[-1] - 30.0


def test_gif_holds_every_frame_and_its_colours(pictures: list[np.ndarray]) -> None:
    data = film.gif(pictures)
    assert film.gif(pictures) == data
    image = Image.open(io.BytesIO(data))
    assert image.n_frames == 4
    assert image.info["loop"] == 0
    for k, picture in enumerate(pictures):
        image.seek(k)
        found = np.asarray(image.convert("RGB")).astype(int)
        assert tuple(found[0, 0]) == (255, 255, 255)
        assert np.abs(found - picture).mean() < 3.0
    assert image.info["duration"] == 10 * 120


def test_mp4_holds_every_frame_and_rests_on_the_last(pictures: list[np.ndarray], tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="the extra [movie] brings it")
    data = film.mp4(pictures)
    assert data[4:8] == b"ftyp"
    (tmp_path / "film.mp4").write_bytes(data)
    command = [ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(tmp_path / "film.mp4")]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True, timeout=120).stdout
    decoded = np.frombuffer(raw, np.uint8).reshape(-1, *pictures[0].shape)
    assert len(decoded) == 4 + film.LAST - 1
    for picture, found in zip(pictures, decoded, strict=False):
        assert np.abs(found.astype(int) - picture).mean() < 6.0


@pytest.mark.parametrize("atoms", [False, True])
def test_plot_animates_a_run(atoms: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    group = {"time": Variable(("time",), TIMES)}
    if atoms:
        group |= {
            "parameter": Variable(("parameter",), np.array(["w"])),
            "theta": Variable(("time", "atom", "parameter"), np.linspace(0.0, 1.0, 4 * 6).reshape(4, 6, 1)),
            "atom_weight": Variable(("atom",), np.full(6, 1.0 / 6.0)),
        }
    else:
        density = np.exp(-0.5 * (X - TIMES[:, None] / 4.0) ** 2)
        group |= {"w": Variable(("w",), X), "density": Variable(("time", "w"), density)}
    store.write(tmp_path / "limit.h5", {"/limit": Group(group)}, store.provenance("", "", 0, True) | {"kind": "limit"})
    found = measured(capsys, "plot", str(tmp_path), "--animate")["figures"]
    assert str(tmp_path / "film.gif") in found
    with Image.open(tmp_path / "film.gif") as image:
        assert image.n_frames == 4  # type: ignore[attr-defined]
    assert all(Path(path).exists() for path in found)


def test_one_stored_time_is_no_film(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    group = {"time": Variable(("time",), TIMES[:1]), "w": Variable(("w",), X)}
    group["density"] = Variable(("time", "w"), np.exp(-0.5 * X**2)[None])
    store.write(tmp_path / "limit.h5", {"/limit": Group(group)}, store.provenance("", "", 0, True) | {"kind": "limit"})
    found = measured(capsys, "plot", str(tmp_path), "--animate")["figures"]
    assert not [path for path in found if "film" in path]
