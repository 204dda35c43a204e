"""Which study a file comes from: the root attributes of an output, and reading back only what the same study wrote."""

from __future__ import annotations

from typing import Any

from mfpde.errors import DataFileError
from mfpde.io import store
from mfpde.io.build import Study
from mfpde.io.config import sha256, to_toml


def root_attributes(study: Study, kind: str, finished: bool) -> dict[str, Any]:
    """Root attributes of an output of ``study``; kind is limit, atoms, stationary or particles."""
    config = study.config
    root = store.provenance(to_toml(config), config.title or study.name, config.output.seed, finished)
    return {**root, "study": study.name, "kind": kind}


def read_own(study: Study, path: str, kind: str) -> store.Contents:
    """Contents of an output of this very study; raises DataFileError for another study or another kind of file."""
    contents = store.read(path)
    hint = "use --overwrite, or another output directory"
    if contents.attributes["config_sha256"] != sha256(study.config):
        raise DataFileError(f"{path} was made by another study", hint)
    if contents.attributes["kind"] != kind:
        raise DataFileError(f"{path} holds the kind '{contents.attributes['kind']}', not the kind '{kind}'", hint)
    return contents
