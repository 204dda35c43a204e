"""The command line: quick, one sentence per failure, one JSON object where asked, the right exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from command_line import modules_after

from mfpde.cli import common, main, progress
from mfpde.errors import DataFileError, NumericalError
from mfpde.io import config, store, studies
from mfpde.io.store import Group, Variable

HEAVY = {"numpy", "scipy", "numba", "h5py", "matplotlib", "tqdm"}


def _mfpde(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mfpde", *arguments], capture_output=True, text=True, timeout=60, check=False, **options
    )


@pytest.fixture
def output(tmp_path: Path) -> Path:
    path = tmp_path / "limit.h5"
    study = config.load("kuramoto").config
    groups = {
        "/limit": Group(
            {
                "time": Variable(("time",), np.linspace(0.0, 2.0, 5)),
                "w": Variable(("w",), np.arange(3.0)),
                "density": Variable(("time", "w"), np.ones((5, 3))),
            },
            {"steps": 7},
        )
    }
    store.write(path, groups, store.provenance(config.to_toml(study), study.title, 5, False))
    return path


def _install(monkeypatch: pytest.MonkeyPatch, run: Any, add_arguments: Any = lambda parser: None) -> None:
    """A verb `try` that does what the test says."""
    module = ModuleType("mfpde_test_verb")
    module.run, module.add_arguments = run, add_arguments  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(main.VERBS, "try", (module.__name__, "do what the test says"))


# ---- start -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["studies"], ["solv"], ["studies", "show", "x"], []])
def test_quick_answers_import_nothing_heavy(arguments: list[str]) -> None:
    assert not HEAVY & modules_after(f"from mfpde.cli.main import main; main({arguments!r})")


def test_looking_at_a_file_imports_neither_numba_nor_pyplot(output: Path) -> None:
    held = modules_after(f"from mfpde.cli.main import main; main(['info', {str(output)!r}])")
    assert not {"scipy", "numba", "matplotlib"} & held


def test_help_is_quick() -> None:
    """Processor time beyond that of a bare interpreter, so that a busy machine does not fail it."""

    def seconds(*command: str) -> float:
        before = os.times()
        subprocess.run([sys.executable, *command], check=True, capture_output=True, timeout=60)
        after = os.times()
        return after.children_user - before.children_user + after.children_system - before.children_system

    extra = min(seconds("-m", "mfpde", "--help") - seconds("-c", "pass") for _ in range(5))
    assert extra < 0.12


def test_help_lists_every_verb() -> None:
    result = _mfpde("--help")
    assert result.returncode == 0
    assert all(f"  {verb} " in result.stdout for verb in main.VERBS)
    assert _mfpde("--version").stdout.startswith("mfpde ")


# ---- usage errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (["sovle"], "no verb 'sovle'", "did you mean 'solve'?"),
        (["qqq"], "no verb 'qqq'", "the verbs are solve"),
        (["--jsno"], "a verb is missing", "--help"),
        (["info"], "required: FILE", "mfpde info --help"),
        (["info", "x", "--confg"], "unrecognized arguments: --confg", "did you mean '--config'?"),
        (["studies", "show"], "needs the name", "single-index"),
        (["studies", "show", "digit"], "no study 'digit'", "did you mean 'digits'?"),
        (["studies", "list", "digits"], "takes no name", "show"),
    ],
)
def test_usage_errors(arguments: list[str], said: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert hint in err
    assert main.main([*arguments, "--json"]) == 2
    out, _ = capsys.readouterr()
    answer = json.loads(out)
    assert out.count("\n") == 1
    assert answer["ok"] is False
    assert said in answer["error"]
    assert hint in answer["hint"]


def test_run_flags() -> None:
    parser = common.Parser(prog="mfpde try", allow_abbrev=False)
    common.add_run_flags(parser)
    args = parser.parse_args(["--set", "a.b=1", "--set", "c=2", "--seed", "7", "--threads", "2", "--resume"])
    assert common.overrides(args) == ["a.b=1", "c=2", "output.seed=7"]
    assert (args.threads, args.resume, args.overwrite, args.dry_run) == (2, True, False, False)
    for wrong in (
        ["--threads", "0"],
        ["--seed", "-1"],
        ["--seed", "1e3"],
        ["--resume", "--overwrite"],
        ["--thread", "2"],
    ):
        with pytest.raises(common.UsageError):
            parser.parse_args(wrong)


# ---- failures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DataFileError("x.h5 is damaged", "restore it"), 4, "data file error: x.h5 is damaged"),
        (NumericalError("mass became NaN"), 5, "numerical error: mass became NaN"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (common.Terminated(), 143, "terminated"),
        (ZeroDivisionError("a\nb"), 70, "internal error: ZeroDivisionError: a b"),
        (MemoryError(), 70, "internal error: MemoryError"),
    ],
)
def test_failures_are_one_sentence(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(args: object) -> int:
        raise error

    _install(monkeypatch, run)
    assert main.main(["try", "--json"]) == code
    out, err = capsys.readouterr()
    assert f"mfpde: {said}" in err
    assert "Traceback" not in err
    answer = json.loads(out)
    assert set(answer) == {"ok", "error", "hint"}
    assert answer["ok"] is False


class _HalfMade:
    """As the strings of llvmlite: the constructor is cut short, and the destructor raises on what it finds."""

    def __init__(self, signals: bool, error: type[BaseException]) -> None:
        self.error = error
        if signals:
            signal.raise_signal(signal.SIGINT)
        raise RuntimeError

    def __del__(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("signals", "error", "reported"),
    [
        (True, AttributeError, []),
        (True, KeyboardInterrupt, []),
        (True, ValueError, [ValueError]),
        (False, AttributeError, [AttributeError]),
    ],
)
def test_what_a_signal_broke_is_not_reported_by_destructors(
    signals: bool, error: type[BaseException], reported: list[type], monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped: list[type] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: dropped.append(report.exc_type))

    def run(args: object) -> int:
        _HalfMade(signals, error)
        return 0

    _install(monkeypatch, run)
    assert main.main(["try", "-q"]) == (130 if signals else 70)
    assert dropped == reported


def test_what_fails_outside_a_destructor_is_reported_after_a_signal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[type] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: dropped.append(report.exc_type))

    def run(args: object) -> int:
        watched = set[int]()
        reference = weakref.ref(watched, lambda gone: gone.nothing)  # type: ignore[attr-defined]
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            del watched
            assert reference() is None
        return 0

    _install(monkeypatch, run)
    assert main.main(["try", "-q"]) == 130
    assert dropped == [AttributeError]


def test_a_signal_waits_for_the_end_of_what_llvm_is_doing() -> None:
    """It comes when a module is linked and gone, but not yet forgotten: its destructor would free it once more."""
    code = """
import inspect, os, signal, sys
import llvmlite.binding as llvm
from llvmlite.binding import linker
from mfpde.cli import common
lines, first = inspect.getsourcelines(linker.link_modules)
(number,) = [first + k for k, line in enumerate(lines) if "detach()" in line]
def trace(frame, event, argument):
    if frame.f_code is linker.link_modules.__code__ and event == "line" and frame.f_lineno == number:
        os.kill(os.getpid(), signal.SIGTERM)
    return trace
one, other = (llvm.parse_assembly(f"define i32 @{name}() {{ ret i32 1 }}") for name in ("f", "g"))
try:
    with common.termination_as_exception():
        sys.settrace(trace)
        one.link_in(other)
        sys.settrace(None)
        while True:
            pass
except common.Terminated:
    del other
    print(*(function.name for function in one.functions))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "f g\n", "")


def test_traceback_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(args: object) -> int:
        raise ZeroDivisionError

    _install(monkeypatch, run)
    with pytest.raises(ZeroDivisionError):
        main.main(["try", "--traceback"])


def test_flags_may_stand_before_the_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    _install(monkeypatch, lambda args: seen.append(args) or 1)
    assert main.main(["--json", "-q", "try"]) == 1
    assert seen[0].json
    assert seen[0].quiet


def test_sigterm_reaches_the_run_as_an_exception(tmp_path: Path) -> None:
    code = f"""
import sys, time, types
from mfpde.cli import main
verb = types.ModuleType("verb")
def run(args):
    try:
        print("ready", flush=True)
        time.sleep(30)
    except KeyboardInterrupt:
        open({str(tmp_path / "checkpoint")!r}, "w").close()
        raise
verb.run, verb.add_arguments = run, lambda parser: None
sys.modules["verb"] = verb
main.VERBS["wait"] = ("verb", "wait")
sys.exit(main.main(["wait"]))
"""
    for number, expected in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=10)
        assert process.returncode == expected
        assert "Traceback" not in err
        assert "--resume" in err
        (tmp_path / "checkpoint").unlink()


def test_a_reader_that_leaves_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-m", "mfpde", "studies"], stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(writer)
    assert result.stderr == b""
    assert result.returncode == 141


# ---- verbs -----------------------------------------------------------------------------------------------------


def test_studies(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["studies"]) == 0
    lines = capsys.readouterr().out.splitlines()
    verbs = ("solve", "kernel-limit", "one-step", "deep")
    assert [line.split()[0] for line in lines] == [name for verb in verbs for name in studies.names(verb)]
    assert main.main(["studies", "show", "kuramoto"]) == 0
    assert config.parse(capsys.readouterr().out) == config.load("kuramoto").config
    assert main.main(["studies", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["studies"][0]["name"] == "single-index"


def test_info(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["info", str(output)]) == 0
    out = capsys.readouterr().out
    for part in ("NOT finished", "seed 5", "5 times from 0 to 2", "density  (time 5, w 3)  f8", "@steps = 7"):
        assert part in out
    assert main.main(["info", str(output), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"]
    assert answer["finished"] is False
    assert answer["groups"]["/limit"]["variables"]["density"]["shape"] == [5, 3]
    assert main.main(["info", str(output), "--config"]) == 0
    assert config.parse(capsys.readouterr().out) == config.load("kuramoto").config
    assert main.main(["info", str(output.parent / "none.h5")]) == 6
    assert main.main(["info", __file__]) == 4


def test_check(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["check", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}: sound\n"
    whole = bytearray(output.read_bytes())
    whole[whole.index(np.ones(15).tobytes()) + 3] ^= 1
    output.write_bytes(whole)
    assert main.main(["info", str(output)]) == 0  # looks at headers only
    assert main.main(["check", str(output)]) == 4
    assert "damaged" in capsys.readouterr().err
    bad = Group({"x": Variable(("i",), np.array([1.0, np.nan, np.inf]))})
    store.write(output, {"/a": bad}, store.provenance("", "", 0, True))
    assert main.main(["check", str(output), "--json"]) == 4
    assert "2 numbers that are not finite in /a/x" in json.loads(capsys.readouterr().out)["error"]


# ---- results and progress --------------------------------------------------------------------------------------


def test_json_holds_plain_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    common.print_json(
        {"a": np.float64(1.5), "b": np.arange(2), "c": (float("nan"), np.inf), 3: Path("x"), "d": np.True_}
    )
    assert json.loads(capsys.readouterr().out) == {"a": 1.5, "b": [0, 1], "c": [None, None], "3": "x", "d": True}


def test_progress_without_a_terminal_prints_tenths(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress("limit", 2.0) as update:
        for done in np.linspace(0.0, 2.0, 101):
            update(float(done), free_energy=0.25, gap=1e-3)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0] == "limit  10 %  0.2/2  F 0.25 gap 1.00e-03"
    assert lines[-1].startswith("limit 100 %  2/2")
    with progress.progress("limit", 2.0, quiet=True) as update:
        update(2.0)
    assert capsys.readouterr().err == ""


def test_progress_on_a_terminal_draws_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.progress("limit", 2.0) as update:
        update(1.0, free_energy=0.25, gap=1e-3)
        update(2.0)
    err = capsys.readouterr().err
    assert "limit" in err
    assert "0/2" in err
