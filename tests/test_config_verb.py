"""``mfpde config``: the template is the default study again, the schema knows every key, one key is explained."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from command_line import measured, modules_after, refused, told

from mfpde.cli.main import main
from mfpde.io import keys, studies

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("verb", keys.VERBS)
def test_template_parses_to_the_default_study_and_shows_every_key(verb: str, capsys: Capture) -> None:
    text = measured(capsys, "config", verb, "--template")["toml"]
    reader, schema = keys.modules(verb)
    assert reader.parse(text) == reader.parse(studies.text(studies.names(verb)[0]))
    written = [line.split(" =")[0].lstrip("# ") for line in text.splitlines() if " = " in line or " =  " in line]
    study = reader.parse(text)
    for section in study.__struct_fields__[1:]:
        table = getattr(study, section)
        assert f"[{section}]" in text
        assert table is None or set(table.__struct_fields__) <= set(written)
    assert schema.Config is type(study)
    capsys.readouterr()
    assert main(["config", verb, "--template"]) == 0
    assert capsys.readouterr().out == text


def test_template_is_a_study_that_runs(tmp_path: Any, capsys: Capture) -> None:
    for verb in keys.VERBS:
        path = tmp_path / f"{verb}.toml"
        path.write_text(keys.template(verb), encoding="utf-8")
        assert measured(capsys, verb, str(path), "--dry-run")["config"]


def _paths(table: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, value in table.items():
        yield f"{path}{key}"
        if isinstance(value, dict):
            yield from _paths(value, f"{path}{key}.")


@pytest.mark.parametrize("verb", keys.VERBS)
def test_every_key_of_every_built_in_study_is_known(verb: str) -> None:
    known = {key.path for key in keys.every_key(verb)}
    for name in studies.names(verb):
        assert set(_paths(tomllib.loads(studies.text(name)))) <= known


@pytest.mark.parametrize("verb", keys.VERBS)
def test_schema_admits_the_built_in_studies_and_nothing_unknown(verb: str, capsys: Capture) -> None:
    schema = measured(capsys, "config", verb, "--schema")["schema"]
    assert schema["$schema"].endswith("2020-12/schema")
    for name in studies.names(verb):
        tables = tomllib.loads(studies.text(name))
        assert _admits(schema, schema, tables), name
        for section, table in tables.items():
            if isinstance(table, dict):
                assert not _admits(schema, schema, {**tables, section: {**table, "mistyped": 1}})
        assert not _admits(schema, schema, {**tables, "mistyped": {}})
    capsys.readouterr()
    assert main(["config", verb, "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema


def test_schema_admits_what_the_program_fills_in() -> None:
    short = {"data": {"dimension": 3}, "network": {}}
    assert _admits(keys.json_schema("solve"), keys.json_schema("solve"), short)
    assert not _admits(keys.json_schema("solve"), keys.json_schema("solve"), {"data": {"dimenson": 3}})
    bare = {"pairwise": {"potential": "double-well", "interaction": "quadratic"}}
    assert _admits(keys.json_schema("solve"), keys.json_schema("solve"), bare)
    assert not _admits(keys.json_schema("solve"), keys.json_schema("solve"), {"pairwise": {"potential": "wel"}})


def _admits(root: dict[str, Any], schema: dict[str, Any], value: Any) -> bool:
    """The part of JSON Schema that these schemas use, bounds left out."""
    if "$ref" in schema:
        return _admits(root, root["$defs"][schema["$ref"].rpartition("/")[2]], value)
    if "anyOf" in schema:
        return any(_admits(root, one, value) for one in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    if schema.get("type") == "array":
        return isinstance(value, list) and all(_admits(root, schema["items"], item) for item in value)
    if schema.get("type") == "object":
        properties = schema["properties"]
        return (
            isinstance(value, dict)
            and set(schema.get("required", ())) <= value.keys()
            and all(key in properties and _admits(root, properties[key], item) for key, item in value.items())
        )
    kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
    return isinstance(value, kinds[schema["type"]])


def test_one_key_is_explained(capsys: Capture) -> None:
    told(capsys, "config", "--explain", "training.temperature", words=["a number from 0 to 1e+06", "default: 0.02"])
    (found,) = measured(capsys, "config", "--explain", "initial.w.std")["keys"]
    assert found == {
        "key": "initial.w.std",
        "when": 'initial.w.law = "normal"',
        "allowed": "a number above 0, at most 1e+06",
        "default": "1.0",
        "table": found["table"],
    }
    assert "std of the norm" in found["table"] or "norm (std / sqrt(d)" in found["table"]
    meanings = measured(capsys, "config", "--explain", "data.quadrature")["keys"]
    assert [key["default"] for key in meanings] == ["60", "left out"]
    section = measured(capsys, "config", "one-step", "--explain", "readout")["keys"]
    assert {"readout", "readout.samples", "readout.ridge", "readout.loss"} <= {key["key"] for key in section}
    assert [key["default"] for key in measured(capsys, "config", "--explain", "data.file")["keys"]] == [None]


def test_mistyped_key_names_the_nearest(capsys: Capture) -> None:
    refused(capsys, "config", "--explain", "training.temprature", words="did you mean 'training.temperature'?")
    refused(capsys, "config", words="one of the arguments --template --schema --explain is required")
    refused(capsys, "config", "--template", "--schema", words="not allowed with")
    refused(capsys, "config", "solv", "--template", words="invalid choice: 'solv'")


def test_bound_that_is_not_included_is_told_and_no_internal_error(capsys: Capture) -> None:
    wrong = ("kernel-limit", "--dry-run", "--set", "kernel_limit.rank_tolerance=2")
    refused(capsys, *wrong, words="it must be a number above 0, below 1")


def test_config_needs_no_numpy() -> None:
    for what in ("'--template'", "'--schema'", "'--explain', 'grid'"):
        held = modules_after(f"from mfpde.cli.main import main; main(['config', {what}])")
        assert not {"numpy", "h5py", "numba", "matplotlib"} & held
