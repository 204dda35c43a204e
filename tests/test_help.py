"""Every verb shows examples that are valid command lines, and the shells complete verbs, flags, studies and files."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from command_line import measured, modules_after, refused

from mfpde.cli import examples, main
from mfpde.io import studies
from mfpde.io.keys import VERBS as STUDY_VERBS


def test_every_verb_has_examples_and_no_other_has() -> None:
    assert set(examples.EXAMPLES) == set(main.VERBS)
    assert all(1 <= len(lines) <= 3 for lines in examples.EXAMPLES.values())


@pytest.mark.parametrize("verb", examples.EXAMPLES)
def test_examples_are_valid_command_lines(verb: str) -> None:
    known = {name for each in STUDY_VERBS for name in studies.names(each)}
    for line, purpose in examples.EXAMPLES[verb]:
        words = shlex.split(line.partition(" > ")[0])
        assert words[0] == "mfpde"
        found, args = main.parse(words[1:])
        assert found == verb
        assert purpose
        assert len(line) < 100
        for name in (getattr(args, key, None) for key in ("study", "source", "name")):
            outputs = ("out", "first", "study.toml")
            assert name is None or name in known or name.split("/")[0] in outputs, f"{line}: no study {name}"
        if verb in STUDY_VERBS and args.study in known:
            assert studies.verb_of(args.study) == verb


@pytest.mark.parametrize("verb", main.VERBS)
def test_help_shows_them_and_the_exit_codes(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main.main([*verb.split(), "--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert f"usage: mfpde {verb}" in out
    assert all(f"  {line}\n" in out for line, _ in examples.EXAMPLES[verb])
    assert "exit codes: 0 done" in out
    text = [line for line in out.splitlines() if not line.startswith("  mfpde ")]
    assert max(map(len, text)) <= 120


def test_help_of_every_verb_imports_nothing_heavy() -> None:
    work = "from mfpde.cli import main; [main.parse(verb.split() + ['x'] * 0) for verb in ()]"
    declared = "import argparse; [main.declare(verb, argparse.ArgumentParser()) for verb in main.VERBS]"
    assert not {"numpy", "scipy", "numba", "h5py", "matplotlib"} & modules_after(f"{work}; {declared}")


# ---- completion ----------------------------------------------------------------------------------------------------

ASK = """
source {script}
cd {directory}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
COMP_LINE="${{COMP_WORDS[*]}}"
_shtab_mfpde
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def _offered(script: Path, words: str) -> set[str]:
    """What bash offers for the last of the words."""
    text = ASK.format(script=script, directory=script.parent, words=words)
    done = subprocess.run(["bash", "--norc", "-c", text], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_bash_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="the package shtab writes the scripts")
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    script = tmp_path / "script"
    script.write_text(measured(capsys, "completion", "bash")["script"], encoding="utf-8")
    (tmp_path / "study.toml").touch()
    assert _offered(script, "mfpde one-") == {"one-step"}
    assert _offered(script, "mfpde theory w") == {"weights"}
    assert _offered(script, "mfpde solve --dry") == {"--dry-run"}
    assert _offered(script, "mfpde solve --only st") == {"stationary"}
    assert _offered(script, "mfpde solve desai") == {"desai-zwanzig"}
    assert _offered(script, "mfpde solve study") == {"study.toml"}
    assert _offered(script, "mfpde export --to n") == {"npz"}


def test_completion_knows_every_verb_in_every_shell(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="the package shtab writes the scripts")
    for shell in ("bash", "zsh", "tcsh"):
        script = measured(capsys, "completion", shell)["script"]
        assert all(verb.split()[-1] in script for verb in main.VERBS)
    refused(capsys, "completion", "fish", words="invalid choice: 'fish'")
