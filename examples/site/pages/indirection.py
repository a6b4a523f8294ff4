"""
Inside the kernels: a table and a tile
======================================

npconv's compiled kernels know nothing of stride, padding, dilation or borders. Geometry is a table
that says which pixel is read for which output at which tap, and the loops look it up. What is left
is one small loop that multiplies and adds in registers, the same for every convolution there is.
Both can be drawn, from the kernels' own data.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

import npconv
from npconv.explain import Formula, draw_numbers, window
from npconv.kernels import indirection, tiles

BLUE, RED, GREEN, GREY = "#4477aa", "#ee6677", "#228833", "0.85"

# %%
# The table
# ---------
# One axis is enough to see it: five rows, a kernel of three, stride 2, one row of padding. Entry
# (p, r) is the row that is read for output row p at kernel row r. Rows before 0 and from 5 on are
# padding.

(rows,) = indirection.forward_axis(out=3, size=5, kernel=3, stride=2, dilation=1, pad=1)
print(rows.reads)

reads = Formula("reads[p,r] = p*stride + r*dilation - pad")
reads

# %%
assert (reads.evaluate((3, 3), stride=2, dilation=1, pad=1) == rows.reads).all()

# %%
# The table of pixels combines that of the rows with that of the columns. Here the 5 x 5 pixels are
# numbered as they lie in memory, and Z stands for a pixel of zeros that all padding shares. The
# table has a row for each output, a column for each tap:

size, kernel, out = 5, 3, 3
pixels = np.array(
    [
        [
            f"{h * size + v}" if 0 <= h < size and 0 <= v < size else "Z"
            for r in range(kernel)
            for s in range(kernel)
            for h, v in [(rows.reads[p, r], rows.reads[q, s])]
        ]
        for p in range(out)
        for q in range(out)
    ]
)
chosen = {0: BLUE, 2: RED, 7: GREEN}  # three outputs whose windows have no pixel in common

figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.6), layout="constrained", width_ratios=[7, 9])
image = np.full((size + 2, size + 2), "Z", dtype=object)
image[1:-1, 1:-1] = [[f"{h * size + v}" for v in range(size)] for h in range(size)]
frames = {}
for output, colour in chosen.items():
    p, q = divmod(output, out)
    frames |= window(2 * p, 2 * q, (kernel, kernel), colour)
draw_numbers(left, image, "5 x 5 pixels, padded; three windows", border=1, frames=frames)
colours = {(row, column): colour for row, colour in chosen.items() for column in range(kernel**2)}
draw_numbers(right, pixels, "the table: which pixel, for each output (row) and tap (column)", colours=colours)
for output in range(out * out):
    right.text(-0.8, output, f"{divmod(output, out)}", ha="right", va="center_baseline", fontsize=9)
for tap in range(kernel**2):
    right.text(tap, -0.8, f"{divmod(tap, kernel)}", ha="center", fontsize=9)
right.set(xlim=(-2.2, 8.6), ylim=(8.6, -1.4))
right.title.set_position((0.5, 1.02))

# %%
# With the table a convolution is a sum over taps and channels, whatever its geometry. Written with
# it in NumPy, x being pixels of C channels with a last pixel of zeros:

tabled = Formula("y[m,o] = sum over t, c of x[table[m,t], c] * w[t,c,o]")
tabled

# %%
rng = np.random.default_rng(0)
x, w = rng.integers(-4, 5, (1, 2, 5, 5)) * 1.0, rng.integers(-4, 5, (3, 2, 3, 3)) * 1.0
table = np.where(pixels == "Z", "25", pixels).astype(int)
lines = np.vstack([x[0].transpose(1, 2, 0).reshape(25, 2), np.zeros((1, 2))])  # channels-last: a pixel is a row
taps = w.transpose(2, 3, 1, 0).reshape(9, 2, 3)
y = np.einsum("mtc,tco->mo", lines[table], taps)
expected = npconv.conv2d(x, w, stride=2, padding=1)
assert (y == expected[0].transpose(1, 2, 0).reshape(9, 3)).all()
assert (tabled.evaluate(y.shape, x=lines, table=table, w=taps) == y).all()

# %%
# The gradient's table
# --------------------
# For the input's gradient the question is turned round: which outputs read pixel h? With stride 2
# even and odd rows are read at different taps. So the rows fall into classes, each with a table of
# its own: two loops without a condition in them. (In other words, the zeros that a :doc:`stride
# weaves in </explained/convolution>` are never multiplied.)

for number, rows in enumerate(indirection.input_grad_axis(out=3, size=5, kernel=3, stride=2, dilation=1, pad=1)):
    print(f"class {number}: rows {rows.places} of dx read, at taps {rows.taps}, the rows of dy:")
    print(rows.reads)
    for place, read in zip(rows.places, rows.reads, strict=True):
        assert all(p * 2 + r - 1 == place for p, r in zip(read, rows.taps, strict=True))

# %%
# The tile
# --------
# The inner loop keeps a small block of outputs in registers: so many pixels (rows) times so many
# vectors of output channels (columns). For each tap and channel it loads the vectors of weights
# once and one number of each pixel, and makes *rows x vectors* fused multiply-adds. The larger the
# block, the fewer loads for each of them; but registers are few. For this machine's vectors the
# kernels have these blocks:

for vectors, rows_of in tiles.ROWS.items():
    loads = Formula("loads = (rows + vectors) / (rows * vectors)")
    share = float(loads.evaluate(rows=rows_of, vectors=vectors))
    assert share == (rows_of + vectors) / (rows_of * vectors)
    print(f"{rows_of:2d} pixels x {vectors} vectors: {rows_of * vectors:2d} sums, {share:.2f} loads per multiply-add")

loads

# %%
vectors, rows_of = max(tiles.ROWS.items(), key=lambda item: item[0] * item[1])
figure, axes = plt.subplots(figsize=(9, 4.6), layout="constrained")
shown = min(rows_of, 6)


def box(x, y, width, text, colour):
    axes.add_patch(Rectangle((x, y), width, 0.8, facecolor=colour, edgecolor="0.4", alpha=0.55))
    axes.text(x + width / 2, y + 0.4, text, ha="center", va="center_baseline", fontsize=10)


for j in range(vectors):
    box(2 + 2.2 * j, -1.4, 2, f"w[t, c, vector {j}]", BLUE)
for i in range(shown):
    box(0, i, 1.5, f"x[table[{i}, t], c]", RED)
    for j in range(vectors):
        box(2 + 2.2 * j, i, 2, f"sum[{i}, {j}]", GREEN)
axes.text(0.75, -1.0, "for each t and c:", ha="center", va="center_baseline")
axes.text(
    0,
    shown + 0.7,
    f"sum[i, j] = fma(x of pixel i, weights j, sum[i, j])      {rows_of} pixels x {vectors} vectors"
    + (f", of which {shown} are drawn" if shown < rows_of else ""),
)
axes.set(xlim=(-0.2, 2.2 + 2.2 * vectors), ylim=(shown + 1.1, -1.7))
axes.set_axis_off()

# %%
# All numbers of a vector are output channels, which lie side by side in a channels-last map, and a
# pixel's number is repeated across the vector. So nothing is ever gathered from far away, whatever
# stride and dilation are: the distance is in the table. The source is `npconv/kernels/tiles.py`,
# and ``npconv show conv2d`` prints reference and kernel side by side.
