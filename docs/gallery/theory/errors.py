r"""
The six terms of an error
=========================

How far is a trained network from the target, and why? With :math:`N` neurons, :math:`n` samples, a time :math:`t` and a
step :math:`dt` the error is exactly a sum of six functions: time step, propagation of chaos, optimization, statistical,
entropic bias, sparse residual.

Known answer: their Gram matrix sums to the squared error up to round-off. Propagation of chaos falls like
:math:`C_{\mathrm{PoC}}/N` and the statistical term like :math:`C_{\mathrm{stat}}/n`, with constants from the linear
response of the measure at rest; the optimization term falls like :math:`e^{-2\Lambda t}`. On the population of this
study :math:`2\Lambda=1.76035` and :math:`C_{\mathrm{PoC}}=0.0826881`.
"""

import matplotlib.pyplot as plt

from mfpde import figures
from mfpde.cli.theory.errors import TITLES
from mfpde.figures import theory_errors
from mfpde.io.theory import error_setting, error_sweeps, errors
from mfpde.io.theory.subject import open_subject

# %%
# One moving weight, so that everything is known: tanh(wx) learns 0.8 tanh(1.5x) from 200 noisy samples.
# ``mfpde theory errors STUDY --samples 200 --sweeps N,n,t`` does the same.
keys = ['network.train=["w"]', 'initial.a={law="point",value=1.0}', "initial.w.std=0.5", "data.noise=0.2"]
keys += ["training.temperature=0.2", "training.weight_decay=0.5", "training.time=3.0", "grid.cells=[200]"]
keys += ["grid.tolerance=1e-7", "particles.step=0.1"]
subject, draws = open_subject("propagation-of-chaos", keys), {"N": 160, "n": 80, "t": 80}


def quiet(share):
    """Progress that nobody looks at."""


trained = error_setting.setting(subject, 200)
members = errors.members(trained, width=64, replicas=64, time=None, penalty=None, report=quiet)
found = errors.error_numbers(subject, members)
sweeps = {name: error_sweeps.SWEEPS[name](members, draws[name], quiet) for name in draws}

# %%
# Entropic bias and sparse residual partly cancel: the squared error is below the latter.
with figures.style():
    figure, ((terms, chaos), (samples, time)) = plt.subplots(2, 2, figsize=(figures.DOUBLE, 5.0))
    rows = [[term[key] or 0.0 for term in found["terms"]] for key in ("squared", "standard_error")]
    theory_errors.terms(terms, [TITLES[term["name"]] for term in found["terms"]], *rows, total=found["total"])
    rest = {r"$C_{\mathrm{PoC}}/N$ at rest": sweeps["N"]["constant_at_rest"]}
    theory_errors.power(chaos, sweeps["N"], "propagation of chaos", "width $N$", rest)
    drawn = {r"$C_{\mathrm{stat}}/n$": sweeps["n"]["constant"]}
    theory_errors.power(samples, sweeps["n"], "statistical", "samples $n$", drawn)
    t = sweeps["t"]
    theory_errors.decay(time, t["times"], t["squared"], t["window"], t["rate"], {r"$2\Lambda$": t["sharp"]})
    figures.settle(figure)

print(f"squared error {found['total']:.4f}; the Gram matrix sums to it up to {found['closure']:.0e}")
print(f"rate over time {t['rate']:.4f}, 2 Lambda of these samples {t['sharp']:.4f}, of the population 1.76035")
assert found["closure"] < 1e-12 and abs(t["rate"] / t["sharp"] - 1.0) < 0.02
assert all(abs(sweeps[name]["rate"]["slope"] + 1.0) < 0.1 for name in ("N", "n"))
plt.show()
