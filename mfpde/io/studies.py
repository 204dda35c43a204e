"""The built-in studies and the data files they read: package resources, no numpy."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from mfpde.errors import ConfigError

# In the order in which `mfpde studies` lists them; the first is the default of `mfpde solve`.
_NAMES = (
    "single-index",
    "linear-network",
    "ornstein-uhlenbeck",
    "desai-zwanzig",
    "kuramoto",
    "teacher-1d",
    "propagation-of-chaos",
    "mei-isotropic",
    "mei-anisotropic",
    "mei-failure",
    "dimension-free",
    "cell-tanh",
    "cell-erf",
    "cell-relu",
    "cell-polynomial",
    "cell-cosine",
    "diabetes-bmi",
    "digits",
)
DEFAULT = _NAMES[0]
# studies of a schema of their own, and the verb that runs them
_OTHERS = {
    "kernel-limit-digits": "kernel-limit",
    "one-step": "one-step",
    "one-step-spike": "one-step",
    "one-step-groups": "one-step",
    "one-step-logistic": "one-step",
    "deep-toy": "deep",
    "deep-digits": "deep",
    "deep-linear": "deep",
    "deep-controls": "deep",
}


def names(verb: str = "solve") -> tuple[str, ...]:
    """Names of the built-in studies that a verb runs, its default first."""
    return _NAMES if verb == "solve" else tuple(name for name, its in _OTHERS.items() if its == verb)


def verb_of(name: str) -> str | None:
    """The verb that runs the built-in study ``name``; None if there is no such study."""
    return "solve" if name in _NAMES else _OTHERS.get(name)


def text(name: str) -> str:
    """TOML text of the built-in study ``name``."""
    return (resources.files("mfpde") / "studies" / f"{name}.toml").read_text(encoding="utf-8")


def shipped_data() -> tuple[Path, ...]:
    """Directories that hold the data files that come with mfpde: inside the package, and beside it in a checkout."""
    package = Path(os.fspath(resources.files("mfpde")))  # type: ignore[call-overload]
    return (package / "data", package.parent / "data")


def find_data(file: str, directory: Path | None) -> Path:
    """Path of the data file a study names: absolute, beside the study, in the working directory, or shipped.

    ConfigError names the places if it is nowhere.
    """
    path = Path(file)
    if path.is_absolute():
        candidates = [path]
    else:
        candidates = [base / path for base in ((directory,) if directory else ())] + [path]
        inside = Path(*path.parts[1:]) if path.parts[:1] == ("data",) and len(path.parts) > 1 else path
        candidates += [base / inside for base in shipped_data()]
    for candidate in candidates:
        try:
            if candidate.is_file():
                return candidate
        except (OSError, ValueError):
            continue
    places = ", ".join(dict.fromkeys(str(candidate.parent) for candidate in candidates))
    raise ConfigError("data.file", f'is "{file}", which does not exist (looked in {places})')
