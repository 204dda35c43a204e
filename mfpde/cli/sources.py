"""Which files make up one run: found from a directory or from one of the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mfpde.errors import DataFileError, FileSystemError
from mfpde.io import store

LIMIT_FILE, PARTICLE_FILE = "limit.h5", "particles.h5"


@dataclass(frozen=True)
class Source:
    """The files of one run; ``unfinished`` says up to which time a file goes that is not complete."""

    limit: Path | None
    particles: Path | None
    unfinished: Mapping[Path, float] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """Where the files lie."""
        path = self.limit or self.particles
        assert path is not None
        return path.parent


def find(path: Path) -> Source:
    """The run behind a directory or behind one of its two files; a file brings the other half of its run along.

    Raises FileSystemError if there is nothing, DataFileError if a file is no output of this package.
    """
    if path.is_dir():
        present = [path / name for name in (LIMIT_FILE, PARTICLE_FILE) if (path / name).exists()]
        if not present:
            raise FileSystemError(
                f"{path} holds neither {LIMIT_FILE} nor {PARTICLE_FILE}", "name an output directory of mfpde solve"
            )
    elif path.exists():
        present = [path, *_companion(path)]
    else:
        raise FileSystemError(f"there is no {path}", "name an output of mfpde solve: a directory or an .h5 file")
    outlines = {file: store.outline(file) for file in present}
    if len({outline["attributes"].get("config_sha256") for outline in outlines.values()}) > 1:
        raise DataFileError(f"the files in {path} come from different studies", "draw them one at a time")
    particles = [file for file in present if outlines[file]["attributes"].get("kind") == "particles"]
    limits = [file for file in present if file not in particles]
    unfinished = {
        file: max((group["time"]["last"] for group in outline["groups"].values() if "time" in group), default=0.0)
        for file, outline in outlines.items()
        if not outline["attributes"].get("finished")
    }
    return Source(limits[0] if limits else None, particles[0] if particles else None, unfinished)


def _companion(path: Path) -> list[Path]:
    """limit.h5 beside particles.h5 or the other way round, if it comes from the same study."""
    other = {LIMIT_FILE: PARTICLE_FILE, PARTICLE_FILE: LIMIT_FILE}.get(path.name)
    if other is None or not path.with_name(other).exists():
        return []
    digests = [store.outline(file)["attributes"].get("config_sha256") for file in (path, path.with_name(other))]
    return [path.with_name(other)] if digests[0] == digests[1] else []
