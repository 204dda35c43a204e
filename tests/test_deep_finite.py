"""Finite widths: against one network written out, numerical gradients, the abc symmetry, and the limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from naive_deep import Weights, network, toy
from numpy.testing import assert_allclose, assert_array_equal

from mfpde.errors import ConfigError, NumericalError
from mfpde.theory.deep import finite
from mfpde.theory.deep.finite import chunk_size, join, train_widths
from mfpde.theory.deep.limit import DeepLimit, run, snapshots
from mfpde.theory.deep.linear import LinearLimit
from mfpde.theory.deep.losses import loss_slope, loss_value
from mfpde.theory.deep.parametrizations import PARAMETRIZATIONS
from mfpde.theory.deep.problem import DeepProblem, Multipliers, data_order, one_hot
from mfpde.theory.deep.space import LimitSettings
from mfpde.theory.deep.trajectory import collect, summarise
from mfpde.theory.deep.width_law import width_law

MUP = PARAMETRIZATIONS["mup"]


def everything(steps: int = 4, outputs: int = 3, loss: str = "cross-entropy") -> DeepProblem:
    """Biases, momentum, mini-batches, rates, richness, several outputs."""
    x, y = toy(4, 6)
    targets = one_hot(np.arange(4) % outputs, outputs) if outputs > 1 else y
    return DeepProblem(
        x,
        targets,
        depth=3,
        activation="tanh",
        loss=loss,
        rate=0.8,
        steps=steps,
        richness=0.7,
        multipliers=Multipliers(0.5, 1.5, 0.8, 0.3),
        momentum=0.4,
        bias=True,
        bias_std=0.5,
        order=data_order(4, 2, steps, 1),
    )


# effective rates and standard deviations of W^1, W^l, W^(L+1): table of docs/deep.md, in powers of n
RATES = {"mup": (1, 0, -1), "ntk": (0, -1, -1), "standard": (-1, -1, -1), "integrable": (1, 0, -1)}
SPREADS = {"mup": (0, -0.5, -1), "ntk": (0, -0.5, -0.5), "standard": (0, -0.5, -0.5), "integrable": (0, -1, -1)}


@pytest.mark.parametrize("name", list(PARAMETRIZATIONS))
def test_table_of_the_parametrizations(name: str) -> None:
    one = PARAMETRIZATIONS[name]
    assert_allclose([-c - 2.0 * a for a, c in zip(one.a, one.c)], RATES[name])
    assert_allclose([-a - b for a, b in zip(one.a, one.b)], SPREADS[name])


@pytest.mark.parametrize("name", list(PARAMETRIZATIONS))
@pytest.mark.parametrize(
    ("outputs", "loss"), [(1, "square"), (3, "cross-entropy"), (1, "cross-entropy"), (2, "square")]
)
def test_steps_are_numerical_gradients(name: str, outputs: int, loss: str) -> None:
    """Effective weights, every gradient by central differences of the loss, rates from the table."""
    case, width = everything(outputs=outputs, loss=loss), 4
    drawn = finite._draw(case, PARAMETRIZATIONS[name], width, [3])
    rate = {key: case.rate * case.richness**2 * float(width) ** power for key, power in zip("ihr", RATES[name])}
    rates, w = case.multipliers, {key: drawn.scale[key] * drawn.parameters[key][0] for key in drawn.parameters}
    step = {"weight1": rate["i"] * rates.input, "readout": rate["r"] * rates.output}
    step |= {f"weight{layer}": rate["h"] * rates.hidden for layer in (2, 3)}
    step |= {f"bias{layer}": rate["i"] * rates.bias for layer in (1, 2, 3)}
    step["bias_out"] = case.rate * case.richness**2 * rates.bias

    def f(points: np.ndarray) -> np.ndarray:
        biases = [w[f"bias{layer}"][:, 0] for layer in (1, 2, 3)]
        weights = Weights(w["weight1"], [w["weight2"], w["weight3"]], w["readout"], biases, w["bias_out"][0])
        return network(weights, case.coordinates[points]) / case.richness

    velocity, expected = {key: np.zeros_like(value) for key, value in w.items()}, []
    for t in range(case.steps + 1):
        expected.append(f(np.arange(4)))
        if t == case.steps:
            break
        batch, gradients = case.order[t], {}
        for key, values in w.items():
            gradient = gradients[key] = np.zeros_like(values)
            for index in np.ndindex(values.shape):
                kept, losses = values[index], []
                for sign in (1.0, -1.0):
                    values[index] = kept + sign * 1e-5
                    losses.append(loss_value(case.loss, f(batch), case.targets[batch]))
                values[index] = kept
                gradient[index] = (losses[0] - losses[1]) / 2e-5
        for key in w:
            velocity[key] = case.momentum * velocity[key] + gradients[key]
            w[key] -= step[key] * velocity[key]
    found = train_widths(case, PARAMETRIZATIONS[name], width, [3])
    assert np.abs(found.f[0, -1] - found.f[0, 0]).max() > 1e-3
    assert_allclose(found.f[0], expected, rtol=0.0, atol=2e-8)


@pytest.mark.parametrize("loss", ["square", "cross-entropy"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_slopes_of_the_losses(loss: str, outputs: int, rng: np.random.Generator) -> None:
    y = np.eye(3)[rng.integers(3, size=5)] if outputs == 3 else np.sign(rng.standard_normal((5, 1)))
    f, found = rng.standard_normal((5, outputs)), np.zeros((5, outputs))
    for index in np.ndindex(f.shape):
        step = np.zeros_like(f)
        step[index] = 1e-5
        found[index] = 5.0 * (loss_value(loss, f + step, y) - loss_value(loss, f - step, y)) / 2e-5
    assert_allclose(loss_slope(loss, f, y), found, atol=1e-9)


@pytest.mark.parametrize("name", list(PARAMETRIZATIONS))
def test_abc_symmetry(name: str) -> None:
    """a + theta, b - theta, c - 2 theta train the same."""
    case, one = everything(steps=8), PARAMETRIZATIONS[name]
    f = train_widths(case, one, 32, [0, 1]).f
    shifted = train_widths(case, one.shifted((0.3, -0.25, 0.7)), 32, [0, 1]).f
    assert_allclose(shifted, f, rtol=0.0, atol=1e-10)


def test_a_seed_does_not_depend_on_its_chunk() -> None:
    case, new = everything(), np.random.default_rng(2).standard_normal((3, 6))
    whole = train_widths(case, MUP, 16, range(5), every=2, test=new)
    parts = join([train_widths(case, MUP, 16, seeds, every=2, test=new) for seeds in ([0, 1], [2, 3, 4])])
    for name, value in vars(whole).items():
        assert_array_equal(getattr(parts, name), value, err_msg=name)
    assert_array_equal(whole.times, [0, 2, 4])
    assert whole.phi.shape == (5, 3, 3, 4, 4) and whole.test_f is not None and whole.test_f.shape == (5, 3, 3)
    assert chunk_size(case, 1024) == 16 * chunk_size(case, 4096) or chunk_size(case, 4096) == 1


def test_test_predictions_of_training_points_are_theirs() -> None:
    case = everything()
    found = train_widths(case, MUP, 16, [0, 1], test=case.inputs)
    assert found.test_f is not None
    assert_allclose(found.test_f, found.f[:, -1], rtol=0.0, atol=1e-12)


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match=r"finite\.widths"):
        train_widths(everything(), MUP, 0, [0])
    with pytest.raises(ConfigError, match=r"data\.test"):
        train_widths(everything(), MUP, 4, [0], test=np.zeros((2, 3)))
    x, y = toy()
    case = DeepProblem(x, y, 1, "identity", rate=50.0, steps=200)
    with np.errstate(all="ignore"), pytest.raises(NumericalError, match="mup networks of width 8"):
        train_widths(case, MUP, 8, [0])


@pytest.mark.parametrize("outputs", [1, 3])
def test_networks_with_everything_approach_their_limit(outputs: int) -> None:
    """Mini-batches, biases, momentum, rates, richness: the mean over seeds is off by c/N, c the same at both widths."""
    case = everything(steps=12, outputs=outputs, loss="square" if outputs == 1 else "cross-entropy")
    # at larger steps the loss oscillates, and differences between widths are amplified beyond 1/N
    case = replace(case, rate=0.4, momentum=0.3)
    limit = summarise([run(case, LimitSettings(samples=4096), r) for r in range(4)])
    runs = [train_widths(case, MUP, width, range(count)) for width, count in ((16, 1000), (64, 500))]
    law = width_law(limit.mean.f, limit.sem.f, [16, 64], [one.f for one in runs])
    expected = {1: 0.95, 3: 0.25}[outputs]
    assert np.all(np.abs(law.bias * law.widths - expected) < 4.0 * law.bias_sem * law.widths + 0.05)
    assert_allclose(law.fluctuation * np.sqrt(law.widths), {1: 0.74, 3: 0.80}[outputs], rtol=0.06)
    assert_allclose(runs[1].phi.mean(axis=0), limit.mean.phi, atol=0.03)
    assert_allclose(runs[1].cross.mean(axis=0), limit.mean.cross, atol=0.06)
    if outputs == 1:
        assert_allclose(runs[1].back.mean(axis=0), limit.mean.back, atol=0.12)


def test_new_inputs_are_predicted_as_by_wide_networks() -> None:
    x, y = toy(6, 10)
    case = DeepProblem(x, y, depth=2, rate=1.0, steps=10)
    new = np.random.default_rng(3).standard_normal((5, 10))
    found = []
    for replicate in range(6):
        limit = DeepLimit(case, LimitSettings(samples=2048), replicate)
        for _ in snapshots(limit):
            pass
        found.append(limit.predict(new)[:, 0])
    wide = train_widths(case, MUP, 128, range(400), every=10, test=new).test_f
    assert wide is not None
    noise = np.sqrt(np.var(found, axis=0, ddof=1) / 6 + wide[..., 0].var(axis=0, ddof=1) / 400)
    assert np.all(np.abs(np.mean(found, axis=0) - wide[..., 0].mean(axis=0)) < 4.0 * noise + 0.5 / 128)


def test_width_law_of_a_known_expansion(rng: np.random.Generator) -> None:
    """Synthetic seeds with bias 3/N along a direction and deviation .5/sqrt(N)."""
    limit, direction = rng.standard_normal((7, 4, 1)), rng.standard_normal((7, 4, 1))
    direction /= np.sqrt(np.mean(direction**2))
    widths = [256, 64, 16]
    runs = [limit + 3.0 / n * direction + 0.5 / np.sqrt(n) * rng.standard_normal((900, 7, 4, 1)) for n in widths]
    law = width_law(limit, None, widths, runs)
    assert_array_equal(law.widths, [16, 64, 256])
    assert_allclose(law.bias * law.widths, 3.0, rtol=0.1)
    assert np.all(np.abs(law.bias - 3.0 / law.widths) < 4.0 * law.bias_sem)
    assert_allclose(law.fluctuation * np.sqrt(law.widths), 0.5, rtol=0.02)
    assert law.bias_rate is not None and law.bias_rate.ci is not None and law.fluctuation_rate is not None
    assert law.bias_rate.ci[0] < -1.0 < law.bias_rate.ci[1] and law.bias_rate.ci[1] - law.bias_rate.ci[0] < 0.3
    assert_allclose(law.fluctuation_rate.slope, -0.5, atol=0.01)
    assert "expected -1" in law.sentence
    # noise alone: the mean of six seeds is .041 off, of which the estimate takes nearly all away
    flat = np.zeros((70, 40, 1))
    nothing = width_law(flat, None, [16, 64], [0.1 * rng.standard_normal((6, 70, 40, 1)) for _ in range(2)])
    assert np.all(nothing.bias < 0.015)
    assert nothing.bias_rate is None and "the noise of the seeds covers it" in nothing.sentence
    with pytest.raises(ConfigError, match="at least 4"):
        width_law(limit, None, [16, 64], [run[:3] for run in runs[:2]])


def test_linear_networks_keep_the_law_of_their_exact_limit() -> None:
    """L = 2, eta = .5; another program had N bias of .51 to .56 and sqrt(N) deviation of .32, for another horizon."""
    x, y = toy(4, 8)
    case = DeepProblem(x, y, depth=2, activation="identity", rate=0.5, steps=30)
    exact = collect(snapshots(LinearLimit(case)))
    runs = [train_widths(case, MUP, width, range(count)).f for width, count in ((32, 1000), (64, 1000))]
    law = width_law(exact.f, None, [32, 64], runs)
    assert np.all(np.abs(law.bias * law.widths - 0.57) < 4.0 * law.bias_sem * law.widths)
    assert_allclose(law.fluctuation * np.sqrt(law.widths), 0.36, atol=0.03)


@pytest.mark.slow
def test_bias_and_fluctuation_of_two_layers() -> None:
    """Eight points, L = 2, 4000 seeds at N = 16 and 32."""
    x, y = toy()
    case = DeepProblem(x, y, depth=2, rate=2.0, steps=30)
    limit = summarise([run(case, LimitSettings(samples=4096), r) for r in range(6)])
    law = width_law(limit.mean.f, limit.sem.f, [16, 32], [train_widths(case, MUP, n, range(4000)).f for n in (16, 32)])
    assert np.all((law.bias * law.widths > 0.25) & (law.bias * law.widths < 0.38))
    assert 1.3 < law.fluctuation[0] / law.fluctuation[1] < 1.5
    assert_allclose(law.fluctuation * np.sqrt(law.widths), 0.268, atol=0.01)
    assert law.bias_rate is not None and law.bias_rate.ci is not None
    assert law.bias_rate.ci[0] < -1.0 < law.bias_rate.ci[1]
