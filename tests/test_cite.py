"""``mfpde cite``: the entries that a study or a run calls for, each complete, none invented."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from command_line import measured, modules_after, refused

from mfpde.cli.main import main
from mfpde.io import bibliography, keys, store, studies
from mfpde.io.store import Group, Variable

Capture = pytest.CaptureFixture[str]
GOLDEN = Path(__file__).resolve().parent / "data" / "golden" / "schema-1"
LIBRARIES = {"harris2020", "virtanen2020", "hunter2007"}


def _keys(capsys: Capture, *arguments: str) -> set[str]:
    return {entry["key"] for entry in measured(capsys, "cite", *arguments)["entries"]}


def test_every_entry_is_complete_and_has_one_rule() -> None:
    entries = bibliography.entries()
    assert set(entries) == {rule.key for rule in bibliography.RULES}
    assert len(bibliography.RULES) == len(entries)
    for key, entry in entries.items():
        head = re.match(r"@(article|inproceedings|misc|software)\{(\w+),\n", entry)
        assert head, key
        assert head[2] == key
        assert entry.count("{") == entry.count("}")
        assert entry.endswith("\n}")
        fields = dict(re.findall(r"^  (\w+) +?= \{(.*?)\},$", entry.replace("\n   ", ""), re.MULTILINE))
        assert {"author", "title", "year"} <= fields.keys(), key
        assert re.fullmatch(r"(19|20)\d\d", fields["year"])
        assert head[1] != "article" or {"journal", "volume", "pages"} <= fields.keys()
        assert re.fullmatch(r"10\.\d{4,5}/\S+", fields.get("doi", "10.1000/x"))
        assert re.fullmatch(r"\d{4}\.\d{4,5}", fields.get("eprint", "1000.00000"))
        assert entry.isascii()


def test_every_rule_applies_to_something_and_few_to_everything() -> None:
    uses = [bibliography.planned(v, studies.text(name)) for v in keys.VERBS for name in studies.names(v)]
    uses += [bibliography.Use("theory", {}, frozenset({"atoms"})), bibliography.Use("solve", {}, frozenset({"ot"}))]
    uses += [bibliography.planned("solve", '[grid]\nflux = "limited"\n')]
    for rule in bibliography.RULES:
        assert any(rule.applies(use) for use in uses), rule.key
    common = {rule.key for rule in bibliography.RULES if all(rule.applies(use) for use in uses)}
    assert common == {"mfpde", "harris2020", "virtanen2020", "lam2015"}


@pytest.mark.parametrize(
    ("study", "present", "absent"),
    [
        (
            "single-index",
            {"mei2018", "nitanda2022", "chen2022", "suzuki2023", "scharfetter1969", "salmon2011"},
            {"carrillo2015", "cui2024"},
        ),
        ("one-step", {"cui2024"}, {"mei2018", "salmon2011"}),
        ("deep-toy", {"chen2025", "yang2020"}, {"mei2018"}),
        ("kernel-limit-digits", {"mei2018", "mei2019", "alpaydin1998"}, {"nitanda2022", "chen2022"}),
        ("kuramoto", {"acebron2005"}, {"mei2018", "desai1978"}),
        ("desai-zwanzig", {"desai1978"}, {"mei2018", "acebron2005"}),
        ("diabetes-bmi", {"efron2004"}, {"alpaydin1998"}),
        ("mei-isotropic", {"mei2018", "mei2019"}, {"desai1978"}),
    ],
)
def test_a_study_is_cited_by_what_it_asks_for(study: str, present: set[str], absent: set[str], capsys: Capture) -> None:
    found = _keys(capsys, study)
    assert present | LIBRARIES | {"mfpde"} <= found
    assert not absent & found


@pytest.mark.parametrize(("dynamics", "cited"), [("sgd", True), ("langevin", False)])
def test_sgd_cites_its_bounds(dynamics: str, cited: bool) -> None:
    use = bibliography.planned("solve", f'[particles]\ndynamics = "{dynamics}"\n')
    assert ("mei2019" in {reference.key for reference in bibliography.references(use)}) is cited


def _output(path: Path, groups: dict[str, Group], kind: str, config: str) -> None:
    store.write(path, groups, store.provenance(config, "", 0, True) | {"kind": kind})


def test_a_run_is_cited_by_what_its_files_hold(tmp_path: Path, capsys: Capture) -> None:
    density = Variable(("time", "w"), np.ones((1, 2)))
    config = '[network]\nactivation = "erf"\n[training]\ntemperature = 0.1\n'
    _output(tmp_path / "limit.h5", {"/limit": Group({"density": density}, {"flux": "limited"})}, "limit", config)
    found = _keys(capsys, str(tmp_path))
    assert {"carrillo2015", "mei2018"} <= found
    assert not {"scharfetter1969", "nitanda2022", "salmon2011", "hunter2007"} & found
    _output(tmp_path / "particles.h5", {"/ensemble/N000002": Group({}, {"width": 2})}, "particles", config)
    (tmp_path / "risk.png").touch()
    (tmp_path / "atoms.json").write_text("{}")
    (tmp_path / "distance.json").write_text('{"metric": "ot"}')
    (tmp_path / "broken.json").write_text("{")
    assert {"salmon2011", "hunter2007", "boyd2017", "xodarev2026", "flamary2021"} <= _keys(capsys, str(tmp_path))
    assert "salmon2011" not in _keys(capsys, str(tmp_path / "limit.h5"))


def test_a_topic_of_theory_without_hdf5_is_known_by_its_json(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "weights.json").write_text("{}")
    assert "xodarev2026" in _keys(capsys, str(tmp_path))


@pytest.mark.parametrize(
    ("topic", "present", "absent"),
    [
        ("sgd", {"mei2019", "salmon2011"}, {"xodarev2026", "nitanda2022"}),
        ("cell", {"xodarev2026"}, {"mei2019", "salmon2011", "nitanda2022"}),
        ("errors", {"xodarev2026", "salmon2011", "nitanda2022"}, {"mei2019"}),
    ],
)
def test_a_topic_of_theory_is_cited_by_what_it_does(
    topic: str, present: set[str], absent: set[str], tmp_path: Path, capsys: Capture
) -> None:
    """By its JSON in a directory, and by its HDF5 file alone where it writes one, whatever that is called."""
    (tmp_path / f"{topic}.json").write_text("{}")
    sources = [tmp_path]
    golden = GOLDEN / f"{topic}.h5"
    if golden.exists():
        sources.append(tmp_path / "renamed.h5")
        sources[-1].write_bytes(golden.read_bytes())
    for source in reversed(sources):
        found = _keys(capsys, str(source))
        assert present | {"mfpde", "mei2018"} <= found
        assert not absent & found


def test_a_study_file_is_known_by_its_sections(tmp_path: Path, capsys: Capture) -> None:
    for verb, key in (
        ("solve", "nitanda2022"),
        ("one-step", "cui2024"),
        ("deep", "chen2025"),
        ("kernel-limit", "mei2019"),
    ):
        path = tmp_path / f"{verb}.toml"
        path.write_text(keys.template(verb), encoding="utf-8")
        assert key in _keys(capsys, str(path))


def test_text_is_bibtex_with_reasons_as_comments(capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["cite", "one-step"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("% this package\n@software{mfpde,")
    assert "% the exact asymptotics after one gradient step\n@misc{cui2024," in out


def test_refusals(tmp_path: Path, capsys: Capture) -> None:
    refused(capsys, "cite", str(tmp_path), words="holds no output of mfpde", code=6)
    refused(capsys, "cite", "singel-index", words="neither a TOML file nor a built-in study")
    (tmp_path / "x.toml").write_text("[network]\nactivaton = 1\n")
    refused(capsys, "cite", str(tmp_path / "x.toml"), words="did you mean 'activation'?")
    (tmp_path / "y.toml").write_text("[")
    refused(capsys, "cite", str(tmp_path / "y.toml"), words="not valid TOML")
    (tmp_path / "text.h5").write_text("text")
    refused(capsys, "cite", str(tmp_path / "text.h5"), words="text.h5", code=4)


def test_citing_a_study_needs_no_numpy() -> None:
    held = modules_after("from mfpde.cli.main import main; main(['cite', 'single-index'])")
    assert not {"numpy", "h5py", "numba", "matplotlib"} & held
