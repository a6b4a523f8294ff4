"""
How rounding errors add up, and what a bound is
===============================================

"Close enough" is how most tests compare two convolutions: ``atol=1e-5``, found by trying. Then a
sum of 4,608 products fails for no fault of its own, and one of nine passes with a mistake in it.
There is a better way: the rounding error of a sum has a bound that can be proved, different for
every output, and whatever exceeds it is wrong.
"""

import matplotlib.pyplot as plt
import numpy as np

import npconv
from npconv import testing
from npconv.explain import Formula

BLUE, RED, GREEN, GREY = "#4477aa", "#ee6677", "#228833", "#999999"

# %%
# One rounding
# ------------
# A float has so many digits; what does not fit is rounded to the nearest. float16 has eleven binary
# digits, so from 2048 on only every second whole number exists. Add up ones:

total = np.float16(0)
for _ in range(4096):
    total += np.float16(1)
print(total)
assert total == 2048

# %%
# ``2048 + 1 = 2049`` lies in the middle between 2048 and 2050, and goes to the even one. The largest
# relative error of one rounding is called u: half the distance from 1 to the next number.

for dtype, digits in [(np.float16, 11), (np.float32, 24), (np.float64, 53)]:
    assert testing.unit_roundoff(dtype) == 2.0**-digits
    print(f"{np.dtype(dtype)}: u = 2^-{digits} = {testing.unit_roundoff(dtype):.1e}")

# %%
# K roundings
# -----------
# A sum of K products rounds each product once, and it may take part in up to K - 1 additions that
# round again. Each rounding multiplies by some 1 + d with d at most u. K of them together change a
# product by at most gamma:

gamma = Formula("gamma = K * u / (1 - K * u)")
gamma

# %%
# That is a little more than K·u. By hand, for three roundings with u = 1/4 (a float of two digits):
# ``3*(1/4) / (1 - 3*(1/4)) = 0.75 / 0.25 = 3``.

assert gamma.evaluate(K=3, u=0.25) == testing.gamma(3, 0.25) == 3

# %%
# The error of the whole sum is then at most gamma times the sum of the products' *absolute* values:

bound = Formula("bound[n,o,p,q] = gamma * sum over c, r, s of abs(x[n, c, p + r, q + s]) * abs(w[o,c,r,s])")
bound

# %%
# It holds in any order of the additions, with or without fused multiply-add, on any number of
# threads. And the sum is nothing new: it is the same convolution, of absolute values.

rng = np.random.default_rng(0)
x, w = rng.standard_normal((1, 8, 6, 6), np.float32), rng.standard_normal((4, 8, 3, 3), np.float32)
magnitude = npconv.conv2d(np.abs(x).astype(float), np.abs(w).astype(float))
allowed = testing.rigorous_bound(magnitude, terms=8 * 9, dtype=np.float32)
by_formula = bound.evaluate(magnitude.shape, x=x, w=w, gamma=float(gamma.evaluate(K=72, u=2.0**-24)))
np.testing.assert_allclose(by_formula, allowed, rtol=1e-12)

y, exact = npconv.conv2d(x, w), npconv.conv2d(x.astype(float), w.astype(float))
testing.assert_within_bound(y, exact, allowed)
errors = testing.error_in_bounds(y, exact, allowed)
print(f"largest error: {errors.max():.2f} of its bound")

# %%
# Every output has its own bound. One that is nearly 0 because its products cancel has a large
# *relative* error, and may: a relative tolerance would call it wrong.
#
# In practice: the square root
# ----------------------------
# Errors of both signs cancel, as steps of a random walk do, so real sums come out far better than
# the bound: about sqrt(K)·u. Sums of K products of random numbers, in float32, added one after
# another, in pairs (as NumPy does), and in sixteen partial sums (as vector code does):


def one_after_another(products):
    return np.cumsum(products, axis=1, dtype=np.float32)[:, -1]


def in_sixteen(products):
    return one_after_another(np.cumsum(products.reshape(len(products), -1, 16), axis=1, dtype=np.float32)[:, -1])


ways = {
    "one after another": (one_after_another, RED, "o"),
    "sixteen partial sums": (in_sixteen, BLUE, "s"),
    "in pairs": (lambda products: products.sum(axis=1), GREEN, "^"),
}
counts = [2**power for power in range(5, 15)]
found = {name: [] for name in ways}
for count in counts:
    products = rng.standard_normal((64, count), np.float32) * rng.standard_normal((64, count), np.float32)
    true, size = products.astype(float).sum(axis=1), np.abs(products.astype(float)).sum(axis=1)
    for name, (add, *_) in ways.items():
        found[name].append((np.abs(add(products) - true) / size).max())
        assert found[name][-1] <= testing.gamma(count, 2.0**-24)

figure, axes = plt.subplots(figsize=(7.5, 4), layout="constrained")
axes.loglog(counts, [testing.gamma(k, 2.0**-24) for k in counts], color="black", label="gamma: cannot be exceeded")
likely = [testing.probable_gamma(k, 2.0**-24) for k in counts]
axes.loglog(counts, likely, "--", color=GREY, label="6 sqrt(K) u: all but never exceeded")
for name, (_, colour, marker) in ways.items():
    axes.loglog(counts, found[name], marker, color=colour, label=f"worst of 64 sums, {name}")
axes.set(xlabel="K, products in the sum", ylabel="error / sum of absolute values")
axes.grid(alpha=0.3)
axes.legend(fontsize="small")

# %%
# Two bounds, two uses
# --------------------
# - Beyond the **rigorous** bound a result is wrong. There is nothing to discuss and no tolerance to
#   tune.
# - Between the **probable** one and the rigorous one it may be right, and is suspicious: most often
#   a sum was made in a lower precision than its inputs have. bfloat16 or TF32 inside a float32
#   convolution show up here.
#
# Round the inputs to 11 digits, as TF32 does, and multiply:


def to_tf32(array):
    """float32 with the digits of TF32: the last 13 are rounded away."""
    step = np.exp2(np.floor(np.log2(np.abs(array))) - 10)
    return (np.round(array / step) * step).astype(np.float32)


reduced = testing.error_in_bounds(npconv.conv2d(to_tf32(x), to_tf32(w)), exact, allowed)
print(f"float32: {errors.max():.2f} bounds, TF32: {reduced.max():.0f} bounds")
assert errors.max() < 1 < reduced.max()

# %%
# Whole numbers need no bound at all: sums of small ones are exact in any order, and ``==`` is the
# right comparison. This is why ``npconv check`` compares whole numbers first, and real ones by the
# bounds on this page.
