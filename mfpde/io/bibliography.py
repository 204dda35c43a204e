"""What a study or a run rests on, as BibTeX: the articles behind its methods, its data and the libraries at work.

A DOI that could not be confirmed is left out; the arXiv number stands instead.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

STRUCTURE = frozenset({"weights", "identify", "atoms", "errors", "cell"})
TOPICS = STRUCTURE | {"sgd"}
"""The topics of ``mfpde theory``; the first five follow one article."""


@dataclass(frozen=True)
class Use:
    """What is known of a study or a run: its verb, its tables, and its ``parts``.

    Parts: limit, stationary, particles, limited (the flux), figures, ot, and the topics of ``theory``.
    """

    verb: str
    tables: Mapping[str, Any]
    parts: frozenset[str]

    def table(self, name: str) -> Mapping[str, Any]:
        """One section of the study, empty if it has none."""
        found = self.tables.get(name)
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Rule:
    """The key of an entry, what it is cited for, and when."""

    key: str
    reason: str
    applies: Callable[[Use], bool]


@dataclass(frozen=True)
class Reference:
    """An entry and what it is cited for."""

    key: str
    reason: str
    bibtex: str


def entries() -> dict[str, str]:
    """Every entry of references.bib by its key."""
    text = (resources.files("mfpde") / "io" / "references.bib").read_text(encoding="utf-8")
    return {entry.partition("{")[2].partition(",")[0]: entry.strip() for entry in text.split("\n\n")}


def references(use: Use) -> list[Reference]:
    """The references that apply, methods first, libraries last."""
    known = entries()
    return [Reference(rule.key, rule.reason, known[rule.key]) for rule in RULES if rule.applies(use)]


def planned(verb: str, toml: str) -> Use:
    """What a study will use when ``verb`` runs it whole, at most: whether it has a limit on a grid is not asked."""
    tables = tomllib.loads(toml)
    parts = {"figures"}
    if verb == "solve":
        training = tables.get("training", {})
        noisy = training.get("temperature", 0.02) > 0.0
        parts |= {"limit", "particles"} | ({"stationary"} if noisy else set())
        if tables.get("grid", {}).get("flux") == "limited":
            parts.add("limited")
    return Use(verb, tables, frozenset(parts))


# ---- when ----------------------------------------------------------------------------------------------------------


def _always(use: Use) -> bool:
    return True


def _part(*names: str) -> Callable[[Use], bool]:
    return lambda use: bool(use.parts & set(names))


def _verb(*names: str) -> Callable[[Use], bool]:
    return lambda use: use.verb in names


def _network(use: Use) -> bool:
    return use.verb in ("solve", "kernel-limit", "theory") and "pairwise" not in use.tables


def _sgd(use: Use) -> bool:
    return "sgd" in use.parts or (use.verb == "solve" and use.table("particles").get("dynamics") == "sgd")


def _dimension_free(use: Use) -> bool:
    return use.verb == "kernel-limit" or use.table("data").get("law") == "two-gaussians" or _sgd(use)


def _exponential(use: Use) -> bool:
    noisy = use.table("training").get("temperature", 0.02) > 0.0
    return use.verb == "solve" and "limit" in use.parts and "limited" not in use.parts and noisy


def _noise(use: Use) -> bool:
    noisy = "particles" in use.parts and use.table("particles").get("dynamics") != "gradient"
    return noisy or bool(use.parts & {"sgd", "errors"})


def _chaos(use: Use) -> bool:
    """Noisy networks of finite width beside their limit, for which uniformity in time is a theorem."""
    noisy = use.table("training").get("temperature", 0.02) > 0.0
    return _network(use) and noisy and {"limit", "particles"} <= use.parts


def _interaction(name: str) -> Callable[[Use], bool]:
    def applies(use: Use) -> bool:
        given = use.table("pairwise").get("interaction", "none")
        return name == (given.get("name") if isinstance(given, dict) else given)

    return applies


def _desai_zwanzig(use: Use) -> bool:
    potential = use.table("pairwise").get("potential", "none")
    name = potential.get("name") if isinstance(potential, dict) else potential
    return name == "double-well" and _interaction("quadratic")(use)


def _data(file: str) -> Callable[[Use], bool]:
    return lambda use: str(use.table("data").get("file", "")).rpartition("/")[2] == file


# ---- what ----------------------------------------------------------------------------------------------------------

RULES = (
    Rule("mfpde", "this package", _always),
    Rule("mei2018", "the mean-field limit of two-layer networks", _network),
    Rule("mei2019", "bounds for SGD in any dimension, the kernel limit, two Gaussians", _dimension_free),
    Rule("nitanda2022", "the proximal Gibbs measure, the dual and its gap", _part("stationary", "errors")),
    Rule("chen2022", "why the error of finite width stays bounded in time", _chaos),
    Rule("suzuki2023", "the same with steps in time and stochastic gradients", _chaos),
    Rule(
        "xodarev2026",
        "weights, identifiability, sparse dictionary, errors: mfpde follows the abstract",
        _part(*STRUCTURE),
    ),
    Rule("boyd2017", "the search for sparse atoms", _part("atoms")),
    Rule("cui2024", "the exact asymptotics after one gradient step", _verb("one-step")),
    Rule("chen2025", "the theorem on L-layer networks under muP", _verb("deep")),
    Rule("yang2020", "the maximal update parametrization and its limit by tensor programs", _verb("deep")),
    Rule("desai1978", "the model: double well and attraction to the mean", _desai_zwanzig),
    Rule("acebron2005", "the model: phases that attract each other", _interaction("cosine")),
    Rule("scharfetter1969", "the exponential flux of the grid", _exponential),
    Rule("carrillo2015", "the limited flux of the grid", _part("limited")),
    Rule("salmon2011", "the random numbers of the finite networks", _noise),
    Rule("alpaydin1998", "the data", _data("digits.h5")),
    Rule("efron2004", "the data", _data("diabetes.csv")),
    Rule("flamary2021", "exact Wasserstein distances in several dimensions", _part("ot")),
    Rule("harris2020", "arrays", _always),
    Rule("virtanen2020", "linear algebra, interpolation, special functions", _always),
    Rule("lam2015", "the compiled kernels", _always),
    Rule("hunter2007", "the figures", _part("figures")),
)
