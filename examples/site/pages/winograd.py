"""
Winograd's convolution by hand
==============================

Four outputs of a 3 x 3 kernel are 36 products. Winograd found that 16 are enough, if one adds
before and after multiplying. The trick can be done by hand in one dimension; the rest is doing it
twice.
"""

import matplotlib.pyplot as plt
import numpy as np

import npconv
from npconv.explain import Formula, draw_numbers
from npconv.reference import winograd

BLUE, RED, GREEN = "#4477aa", "#ee6677", "#228833"

# %%
# Two outputs, four products
# --------------------------
# A row of four pixels d and a kernel of three weights g. The two outputs are six products:

direct = Formula("y[p] = sum over r of d[p + r] * g[r]")
direct

# %%
# Now make only these four products, each of a sum of pixels and a sum of weights:

products = [
    Formula("m_0 = (d[0] - d[2]) * g[0]"),
    Formula("m_1 = (d[1] + d[2]) * (g[0] + g[1] + g[2]) / 2"),
    Formula("m_2 = (d[2] - d[1]) * (g[0] - g[1] + g[2]) / 2"),
    Formula("m_3 = (d[1] - d[3]) * g[2]"),
]
products[0]

# %%
products[1]

# %%
products[2]

# %%
products[3]

# %%
# The outputs are sums of them:

outputs = [Formula("y_0 = m_0 + m_1 + m_2"), Formula("y_1 = m_1 - m_2 - m_3")]
outputs[0]

# %%
outputs[1]

# %%
# Try it: pixels 1, 2, 3, 4 and weights 1, 2, 3. Directly, ``1*1 + 2*2 + 3*3 = 14`` and ``2*1 + 3*2
# + 4*3 = 20``. With four products:

d, g = np.array([1.0, 2, 3, 4]), np.array([1.0, 2, 3])
m = {formula.name: float(formula.evaluate(d=d, g=g)) for formula in products}
y = [float(formula.evaluate(**m)) for formula in outputs]
print(m, "->", y)
assert y == direct.evaluate((2,), d=d, g=g).tolist() == [14, 20]

# %%
# Why it is right: in ``m_1 + m_2`` the terms with ``d[1] * g[0]``, ``d[1] * g[2]`` and ``d[2] *
# g[1]`` cancel, and so on. Multiply it out once and you will believe it; or let whole numbers do it
# for you. Both sides are linear in d and in g, so it is enough to try every pair of unit vectors:

for d in np.eye(4):
    for g in np.eye(3):
        m = {formula.name: float(formula.evaluate(d=d, g=g)) for formula in products}
        assert [float(formula.evaluate(**m)) for formula in outputs] == direct.evaluate((2,), d=d, g=g).tolist()

# %%
# As matrices
# -----------
# What is done to the pixels, to the weights and to the products are three small matrices, and the
# whole is ``y = A^T ((G g) * (B^T d))``, the star being a product element by element.

figure, panels = plt.subplots(1, 3, figsize=(9, 2.9), layout="constrained", width_ratios=[4, 3, 4])
for panel, matrix, title in [
    (panels[0], winograd.B_T, "$B^T$: pixels"),
    (panels[1], winograd.G, "$G$: weights"),
    (panels[2], winograd.A_T, "$A^T$: products to outputs"),
]:
    signs = {(r, c): BLUE if value > 0 else RED for (r, c), value in np.ndenumerate(matrix) if value}
    draw_numbers(panel, matrix, title, colours=signs)

# %%
# In two dimensions each matrix is used from both sides, for rows and for columns: 4 x 4 pixels, 16
# products, 2 x 2 outputs.

patch, weights = np.arange(1.0, 17).reshape(4, 4), np.array([[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]])
b_t, g_m, a_t = winograd.B_T, winograd.G, winograd.A_T
products = (g_m @ weights @ g_m.T) * (b_t @ patch @ b_t.T)
y = a_t @ products @ a_t.T
expected = npconv.conv2d(patch[None, None], weights[None, None])[0, 0]
print(y)
assert (y == expected).all()

figure, panels = plt.subplots(1, 4, figsize=(11, 3.1), layout="constrained", width_ratios=[4, 4, 4, 2])
draw_numbers(panels[0], b_t @ patch @ b_t.T, "pixels, added up")
draw_numbers(panels[1], g_m @ weights @ g_m.T, "weights, added up")
draw_numbers(panels[2], products, "16 products")
draw_numbers(panels[3], y, "4 outputs")

# %%
# The sums of the weights are made once for all patches and those of the pixels once for all output
# channels, so with many channels the products are what counts: 16 instead of 36, or ``36 / 16 = 2.25``
# times fewer. :func:`npconv.reference.winograd.winograd_conv2d` does so in ten lines.

rng = np.random.default_rng(0)
x, w = rng.integers(-9, 10, (2, 3, 9, 8)) * 1.0, rng.integers(-9, 10, (4, 3, 3, 3)) * 1.0
assert (winograd.winograd_conv2d(x, w) == npconv.conv2d(x, w)).all()

# %%
# What it costs in digits
# -----------------------
# Whole numbers come out exactly. Real numbers are rounded at other places than in the plain sum:
# differences of pixels may cancel, so errors are relative to the size of the patch and not of the
# products. On noise that is little:

x, w = rng.normal(size=(1, 64, 34, 34)), rng.normal(size=(64, 64, 3, 3))
exact = npconv.conv2d(x, w)
plain = np.abs(npconv.conv2d(x.astype(np.float32), w.astype(np.float32)) - exact)
by_winograd = np.abs(winograd.winograd_conv2d(x.astype(np.float32), w.astype(np.float32)) - exact)
print(
    f"root mean square error: plain {np.sqrt((plain**2).mean()):.1e}, Winograd {np.sqrt((by_winograd**2).mean()):.1e}"
)

# %%
# But a plain sum multiplies a pixel by its weight and by nothing else, and Winograd adds pixels up
# before it knows their weights. With the kernel that copies its middle pixel, all other weights are 0,
# and a plain sum does not care how large a neighbour is. Winograd's sums do, and digits are lost. This
# is why npconv lets you say ``with npconv.winograd("off")``, and why ``npconv check`` tells whether
# another library uses it.

x = np.ones((1, 1, 4, 4))
x[0, 0, 2, 2] = 1e8  # the neighbour
w = np.zeros((1, 1, 3, 3))
w[0, 0, 1, 1] = 1  # copies the middle
single_x, single_w = x.astype(np.float32), w.astype(np.float32)
plain, by_winograd = npconv.conv2d(single_x, single_w), winograd.winograd_conv2d(single_x, single_w)
print(f"a copy of the pixel 1: plain {plain[0, 0, 0, 0]}, Winograd {by_winograd[0, 0, 0, 0]}")
assert plain[0, 0, 0, 0] == 1
assert by_winograd[0, 0, 0, 0] != 1
