"""Input that a user or a broken program might hand over, drawn by hypothesis, and what must come of it.

``CASES`` maps a kind of input to a function ``(data, folder)`` that draws one, feeds it and asserts: never a traceback,
an exit code of the documented ones, one sentence that names the key, the file or the argument.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hypothesis import strategies as st

from mfpde.cli.main import VERBS, main
from mfpde.errors import ConfigError, DataFileError
from mfpde.io import config, data, schema, studies
from mfpde.io.one_step import config as one_step

GOLDEN = Path(__file__).resolve().parent / "data" / "golden"
EXIT_CODES = {0, 1, 2, 4, 5, 6}
KINDS = "config|usage|data file|file system|numerical|not converged"

SECTIONS = [name for name in schema.Config.__struct_fields__ if name != "title"]
TABLES = (schema.Training, schema.Network, schema.Grid, schema.Particles)
FIELDS = sorted(
    {name for table in TABLES for name in table.__struct_fields__}
    | set("law dimension target noise file inputs targets rows x y weights snapshots seed w a b std mean".split())
)
NUMBERS = st.one_of(
    st.integers(-3, 50).map(str),
    st.integers().map(str),
    st.floats().map(repr),
    st.sampled_from(["1e400", "-0.0", "0x10", "1_000", "9" * 400, "1e-320", "inf", "nan", "+1", "1e", ".5"]),
)
WORDS = st.sampled_from(
    'true false "tanh" tanh "relu" "gaussian" nodes "empirical" "auto" langevin "sgd" "" [] {} [[]] [1,2] '
    '{law="normal"} {law="point",value=1} "\\u0000" \'x\' 2026-11-22 [1,"a"] {a=1,b={c=2}} """x""" '
    '"no.csv" "/etc/passwd" ../x'.split()
)
VALUES = st.one_of(
    NUMBERS, WORDS, st.text(max_size=12), NUMBERS.map(lambda v: f"[{v}]"), NUMBERS.map(lambda v: f"{{w={v}}}")
)
KEYS = st.one_of(
    st.tuples(st.sampled_from(SECTIONS), st.sampled_from(FIELDS)).map(".".join),
    st.tuples(st.sampled_from(SECTIONS), st.sampled_from(FIELDS), st.sampled_from(FIELDS)).map(".".join),
    st.text(max_size=10),
)
OVERRIDES = st.lists(st.one_of(st.tuples(KEYS, VALUES).map("=".join), st.text(max_size=16)), min_size=1, max_size=3)


def told(argv: list[str]) -> tuple[int, str]:
    """Exit code and stderr of a command line in this process; asserts what holds for every one."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _standard_input(), np.errstate(all="ignore"):
        try:
            code = main(argv)
        except SystemExit as stop:  # --help
            code = int(stop.code or 0)
    message = err.getvalue()
    assert code in EXIT_CODES, (argv, code, message)
    assert "Traceback" not in message, (argv, message)
    assert "internal error" not in message, (argv, message)
    if code not in (0, 1):
        failures = [line for line in message.splitlines() if line.startswith("mfpde: ")]
        assert len(failures) == 1 or not argv, (argv, message)
        assert all(re.match(f"mfpde: ({KINDS}) error: .", line) for line in failures), (argv, message)
    return code, message


@contextlib.contextmanager
def _standard_input() -> Iterator[None]:
    import sys

    before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(b""))
    try:
        yield
    finally:
        sys.stdin = before


def _names_its_key(load: Callable[[], Any]) -> None:
    try:
        load()
    except ConfigError as error:
        assert error.key, error
        assert str(error).startswith(error.key), error
        assert "\n" not in str(error), error


# ---- studies -------------------------------------------------------------------------------------------------------


def overrides(draw: st.DataObject, folder: Path) -> None:
    """``--set`` values on every built-in study of solve and of one-step."""
    words = draw.draw(OVERRIDES)
    if draw.draw(st.integers(0, 4)) == 0:
        _names_its_key(lambda: one_step.load("one-step", words))
    else:
        _names_its_key(lambda: config.load(draw.draw(st.sampled_from(studies.names())), words))


def texts(draw: st.DataObject, folder: Path) -> None:
    """The text of a built-in study with pieces cut out, doubled, moved or replaced."""
    text = studies.text(draw.draw(st.sampled_from(studies.names())))
    for _ in range(draw.draw(st.integers(1, 3))):
        text = _spliced(
            draw, text, st.one_of(VALUES, st.text(max_size=8), st.sampled_from(["\n[", "]\n", "=", '"', "{"]))
        )
    _names_its_key(lambda: config.parse(text))


def _spliced(draw: st.DataObject, whole: Any, pieces: st.SearchStrategy[Any]) -> Any:
    start = draw.draw(st.integers(0, len(whole)))
    stop = min(len(whole), start + draw.draw(st.integers(0, 12)))
    return whole[:start] + draw.draw(st.one_of(pieces, st.just(whole[start:stop] * 2))) + whole[stop:]


# ---- data files ----------------------------------------------------------------------------------------------------


def _read(path: Path, inputs: Any, target: str, **rest: Any) -> None:
    """Numbers, or an error that names the file or the key."""
    try:
        x, y, _ = data.read_table(path, inputs, target, **rest)
    except ConfigError as error:
        assert error.key.startswith("data."), error
    except DataFileError as error:
        assert path.name in str(error), error
        assert "\n" not in str(error), error
    else:
        assert np.all(np.isfinite(x)), x
        assert np.all(np.isfinite(y)), y
        assert x.ndim == 2, x
        assert len(x) == len(y), y


CELLS = st.one_of(st.floats().map(repr), st.integers(-9, 99).map(str), st.text(max_size=5))


def csv(draw: st.DataObject, folder: Path) -> None:
    """Rows of numbers and junk; then bytes spliced in."""
    rows = [["u", "v", "y"], *draw.draw(st.lists(st.lists(CELLS, min_size=2, max_size=4), max_size=5))]
    separator = draw.draw(st.sampled_from([",", ";", "\t", " ", ",,"]))
    whole = "\n".join(separator.join(row) for row in rows).encode(
        draw.draw(st.sampled_from(["utf-8", "utf-16", "cp037"])), "replace"
    )
    path = folder / "table.csv"
    path.write_bytes(_spliced(draw, whole, st.binary(max_size=6)) if draw.draw(st.booleans()) else whole)
    limits = draw.draw(
        st.sampled_from([{}, {"rows": 2}, {"rows": (1, 9)}, {"standardize": True}, {"classes": (0.0, 1.0)}])
    )
    _read(path, draw.draw(st.sampled_from(["u", ["u", "v"], "x"])), "y", **limits)


def _arrays(draw: st.DataObject) -> dict[str, Any]:
    count = draw.draw(st.integers(0, 4))
    kinds = st.sampled_from(["f8", "f4", "i8", "u1", "?", "c16", "S3", "U2", "M8[s]", "f2"])
    shapes = st.sampled_from([(count,), (count, 2), (count, 1), (), (2, 2, 2), (count + 1,)])
    return {name: np.ones(draw.draw(shapes), draw.draw(kinds)) for name in ("x", "y")}


def npz(draw: st.DataObject, folder: Path) -> None:
    """Arrays of any type, pickled objects among them; then bytes spliced in."""
    path, arrays = folder / "table.npz", _arrays(draw)
    if draw.draw(st.booleans()):
        arrays[draw.draw(st.sampled_from(["x", "y"]))] = np.array([_Trap(folder)], dtype=object)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    whole = buffer.getvalue()
    path.write_bytes(_spliced(draw, whole, st.binary(max_size=6)) if draw.draw(st.booleans()) else whole)
    _read(path, "x", "y")
    assert not (folder / "trapped").exists(), "a pickle was executed"


class _Trap:
    """Unpickling it would make a directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.makedirs, (str(self.folder / "trapped"),)


def hdf5(draw: st.DataObject, folder: Path) -> None:
    """Arrays of any type HDF5 has; then bytes spliced in or flipped."""
    path, buffer = folder / "table.h5", io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, array in _arrays(draw).items():
            file[name] = array.astype("S40") if array.dtype.kind in "UM" else array
    path.write_bytes(_damaged(draw, buffer.getvalue()))
    _read(path, draw.draw(st.sampled_from(["x", "x/y", "/x", "../x", ".", ""])), "y")


def _damaged(draw: st.DataObject, whole: bytes) -> bytes:
    match draw.draw(st.integers(0, 3)):
        case 0:
            return whole
        case 1:
            return bytes(_spliced(draw, whole, st.binary(max_size=6)))
        case 2:
            return whole[: draw.draw(st.integers(0, len(whole)))]
    damaged = bytearray(whole)
    for place in draw.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=3)):
        damaged[place] = draw.draw(st.integers(0, 255))
    return bytes(damaged)


def outputs(draw: st.DataObject, folder: Path) -> None:
    """A real output with bytes spliced in or replaced, under the verbs that read one."""
    source = draw.draw(st.sampled_from(sorted(GOLDEN.glob("**/*.h5"))))
    path = folder / source.name
    path.write_bytes(_damaged(draw, source.read_bytes()))
    verb = draw.draw(st.sampled_from([["check"], ["info"], ["compare", "--rtol", "0", str(source)]]))
    code, message = told([*verb, str(path)])
    assert code in (0, 1, 4), (verb, code, message)
    if code == 4:
        assert path.name in message, message


# ---- command lines -------------------------------------------------------------------------------------------------

FLAGS = (
    "--json --quiet -q -v --set --seed --threads --dry-run --resume --overwrite -o --only --checkpoint --no-figures "
    "--rtol --atol --metric --precision --draws --widths --to --last --particles --kind --grid --jobs --config "
    "--orders --trust -h"
).split()
# they compute for long on what a study asks for: here only with input that ends before that
LONG = {"verify"}
QUICK = [verb for verb in VERBS if verb not in LONG]


def arguments(draw: st.DataObject, folder: Path) -> None:
    """Any verb with any flags, numbers, words and files; what would run for long is a dry run or has no study."""
    files = ["none.h5", str(folder), "bad.h5", "-", "", "\0", "é" * 300, str(folder / "sub" / "x")]
    (folder / "bad.h5").write_bytes(draw.draw(st.binary(max_size=12)))
    verb = draw.draw(st.sampled_from(QUICK) | st.text(max_size=6).filter(lambda text: text not in VERBS))
    if verb in ("info", "check", "export", "compare"):
        files += [str(path) for path in sorted(GOLDEN.glob("**/*.h5"))]
    words = st.one_of(st.sampled_from(FLAGS), NUMBERS, WORDS, st.sampled_from(files), OVERRIDES.map(lambda o: o[0]))
    rest = draw.draw(st.lists(words, max_size=5))
    with _inside(folder):
        told([*verb.split(), *rest, *_harmless(verb)])


def _harmless(verb: str) -> list[str]:
    """What keeps a verb from computing: a study that does not exist, and no run."""
    if verb.startswith("theory") or verb in ("solve", "sweep", "one-step", "kernel-limit", "deep"):
        return ["no-such-study"]
    return []


def dry_runs(draw: st.DataObject, folder: Path) -> None:
    """``solve`` and ``one-step`` with any ``--set``, up to where they would start."""
    verb, study = draw.draw(
        st.sampled_from([("solve", "linear-network"), ("solve", "ornstein-uhlenbeck"), ("one-step", "one-step")])
    )
    words = [word for text in draw.draw(OVERRIDES) for word in ("--set", text)]
    before = sorted(folder.iterdir())
    with _inside(folder):
        code, message = told([verb, study, *words, "--dry-run", "-q"])
    assert code in (0, 2, 4), (words, code, message)
    assert sorted(folder.iterdir()) == before, words


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


# kind -> (function, share of all cases)
CASES: dict[str, tuple[Callable[[st.DataObject, Path], None], float]] = {
    "overrides": (overrides, 0.4),
    "texts": (texts, 0.2),
    "csv": (csv, 0.1),
    "npz": (npz, 0.05),
    "hdf5": (hdf5, 0.1),
    "outputs": (outputs, 0.05),
    "arguments": (arguments, 0.08),
    "dry runs": (dry_runs, 0.02),
}
