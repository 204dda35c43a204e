"""Generators of the realization symmetry: random moves on the neurons that leave the network's function alone.

One list per activation (docs/theory.md; mfpde's reading of "finite-rank realization symmetry" in arXiv:2605.24710,
whose text was not available). Every move takes atoms and a generator of random numbers and returns atoms of the same
function, up to round-off; the canonical form of mfpde.theory.symmetry undoes them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import comb

from mfpde.core.activations import evaluate
from mfpde.theory.parity import Reflection, homogeneity, polynomial, reflection
from mfpde.theory.ridge import Atoms

Array = NDArray[np.float64]
Move = Callable[[Atoms, np.random.Generator], Atoms]


@dataclass(frozen=True)
class Generator:
    """A family of moves: what it is called, what it does, and one random member applied to atoms."""

    name: str
    description: str
    move: Move


def generators(activation: str, hermite: Sequence[float] = ()) -> tuple[Generator, ...]:
    """The symmetries of a finite network of this activation, biases included; ConfigError for a zero polynomial."""
    found = [
        Generator("permutation", "the neurons in another order", _permuted),
        Generator("split", "(a, w, b) -> (s a, w, b) and ((1 - s) a, w, b), and back", _split),
        Generator("inactive", "a neuron with a = 0, or two that cancel", _with_inactive),
    ]
    mirror, powers = reflection(activation, hermite), polynomial(activation, hermite)
    if mirror.kind == "odd":
        found.append(_odd_flip(activation, mirror, hermite))
    if mirror.kind == "even":
        found += _even_flips(mirror)
    degree = homogeneity(activation, hermite)
    if degree is not None:
        found.append(
            Generator("scale", f"(a, w, b) -> (a / c^{degree}, c w, c b), c > 0", lambda t, r: _scaled(t, r, degree))
        )
    if activation == "sin":
        found.append(Generator("period", "b -> b + 2 pi", _turned))
        found.append(Generator("half period", "(a, b) -> (-a, b + pi)", _half_turned))
        found.append(Generator("phases", "two phases of one frequency for one: rank-2 linear relation", _phases))
    if powers is not None:
        order = len(powers)
        text = f"signed neurons on a line whose moments up to degree {order - 1} vanish"
        found.append(Generator("null measure", text, lambda t, r: _with_difference(t, r, order)))
    return tuple(found)


def _odd_flip(activation: str, mirror: Reflection, hermite: Sequence[float]) -> Generator:
    if mirror.offset == 0.0:
        return Generator("sign", "(a, w, b) -> (-a, -w, -b)", lambda atoms, rng: _flipped(atoms, rng, -1.0)[0])
    text = "(a, w, b) -> (-a, -w, -b), and a constant that a neuron with w = 0 takes: rank-1 linear relation"
    # the neuron that carries the constant sits where sigma is largest, so that its amplitude is small
    biases = np.linspace(-2.0, 2.0, 9)
    values = evaluate(activation, biases, hermite)
    best = int(np.argmax(np.abs(values)))

    def move(atoms: Atoms, rng: np.random.Generator) -> Atoms:
        turned, which = _flipped(atoms, rng, -1.0)
        constant = 2.0 * mirror.offset * float(np.sum(atoms.a[which]))
        flat = np.zeros((1, atoms.w.shape[1]))
        return _with(turned, np.array([constant / values[best]]), flat, biases[[best]])

    return Generator("sign and constant", text, move)


def _even_flips(mirror: Reflection) -> list[Generator]:
    if mirror.offset == 0.0:
        return [Generator("sign", "(a, w, b) -> (a, -w, -b)", lambda atoms, rng: _flipped(atoms, rng, 1.0)[0])]
    text = "(a, w, b) -> (a, -w, -b), and a linear function that a pair of opposite neurons takes: rank-d relation"
    closed = "neurons with sum a w = 0 and sum a b = 0 for their reflections: rank-d linear relation"

    def move(atoms: Atoms, rng: np.random.Generator) -> Atoms:
        turned, which = _flipped(atoms, rng, 1.0)
        a = 2.0 * mirror.offset * atoms.a[which]
        w, b = a @ atoms.w[which], float(np.sum(a * atoms.b[which]))
        # sigma(z) - sigma(-z) = 2 offset z
        return _with(turned, np.array([0.5, -0.5]) / mirror.offset, np.stack([w, -w]), np.array([b, -b]))

    return [Generator("sign and linear", text, move), Generator("linear relation", closed, _with_relation)]


def _with(atoms: Atoms, a: Array, w: Array, b: Array) -> Atoms:
    return Atoms(np.append(atoms.a, a), np.concatenate([atoms.w, w]), np.append(atoms.b, b))


def _permuted(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    order = rng.permutation(len(atoms.a))
    return Atoms(atoms.a[order], atoms.w[order], atoms.b[order])


def _split(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    s = rng.integers(len(atoms.a))
    a, share = atoms.a.copy(), rng.uniform(-1.0, 2.0)
    a[s] *= share
    return _with(Atoms(a, atoms.w, atoms.b), atoms.a[[s]] * (1.0 - share), atoms.w[[s]], atoms.b[[s]])


def _with_inactive(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    w, b, a = rng.standard_normal((2, atoms.w.shape[1])), rng.standard_normal(2), rng.standard_normal()
    return _with(atoms, np.array([0.0, a, -a]), w[[0, 1, 1]], b[[0, 1, 1]])


def _flipped(atoms: Atoms, rng: np.random.Generator, amplitude: float) -> tuple[Atoms, NDArray[np.bool_]]:
    """A random set of neurons, not empty, reflected; their amplitudes multiplied."""
    which = rng.random(len(atoms.a)) < 0.5
    which[rng.integers(len(which))] = True
    sign = np.where(which, -1.0, 1.0)
    return Atoms(atoms.a * np.where(which, amplitude, 1.0), atoms.w * sign[:, None], atoms.b * sign), which


def _with_relation(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    d = atoms.w.shape[1]
    points = rng.standard_normal((d + 2, d + 1))
    # d + 2 vectors (w, b) of dimension d + 1 have one relation
    a = np.linalg.svd(points.T)[2][-1]
    both = np.concatenate([points, -points])
    return _with(atoms, np.append(a, -a), both[:, :-1], both[:, -1])


def _scaled(atoms: Atoms, rng: np.random.Generator, degree: int) -> Atoms:
    c = np.exp(rng.uniform(-1.0, 1.0, len(atoms.a)))
    return Atoms(atoms.a / c**degree, atoms.w * c[:, None], atoms.b * c)


def _turned(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    return Atoms(atoms.a, atoms.w, atoms.b + 2.0 * np.pi * rng.integers(-2, 3, len(atoms.a)))


def _half_turned(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    odd = rng.integers(0, 2, len(atoms.a))
    return Atoms(np.where(odd == 1, -atoms.a, atoms.a), atoms.w, atoms.b + np.pi * odd)


def _phases(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    s, phase = rng.integers(len(atoms.a)), rng.uniform(0.5, 2.5)
    # a sin(z + b) = a cos(p) sin(z + b - p) + a sin(p) sin(z + b - p + pi/2)
    a, b = atoms.a.copy(), atoms.b.copy()
    a[s], b[s] = atoms.a[s] * np.cos(phase), atoms.b[s] - phase
    return _with(Atoms(a, atoms.w, b), atoms.a[[s]] * np.sin(phase), atoms.w[[s]], b[[s]] + 0.5 * np.pi)


def _with_difference(atoms: Atoms, rng: np.random.Generator, order: int) -> Atoms:
    """A difference of the given order along a line of (w, b), which annihilates polynomials of lower degree."""
    steps = np.arange(order + 1.0)
    start, along = rng.uniform(-0.5, 0.5, (2, atoms.w.shape[1] + 1))
    points = start + steps[:, None] * along
    a = rng.standard_normal() * (-1.0) ** steps * comb(order, steps)
    return _with(atoms, a, points[:, :-1], points[:, -1])
