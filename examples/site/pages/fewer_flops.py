"""
Why fewer FLOPs are not always faster
=====================================

A depthwise separable layer has a ninth of the multiply-accumulates of a standard one, and takes far
more than a ninth of the time. Nothing is wrong with the code. A machine has two speeds, that at
which it computes and that at which it moves numbers, and counting FLOPs asks about the first one
only. The times on this page were measured on the machine that built it; download the page and
measure your own.
"""

import time

import matplotlib.pyplot as plt
import numba
import numpy as np

import npconv
from npconv import costs
from npconv.bench import peaks
from npconv.explain import Formula

COLOURS = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377"]

# %%
# How much work for each number moved
# -----------------------------------
# A layer reads its input and its weights, and writes its output: each number once at least. The
# FLOPs for each byte moved are its *arithmetic intensity*. A multiply-accumulate is two FLOPs, a
# float32 four bytes.

standard = Formula(
    "intensity = 2 * O*P*Q * C*R*S / (4 * (C*H*V + O*P*Q + O*C*R*S))",
)
standard

# %%
# Depthwise, each output is a sum of R·S products only, whatever the number of channels:

depthwise = Formula("intensity = 2 * C*P*Q * R*S / (4 * (C*H*V + C*P*Q + C*R*S))")
depthwise

# %%
# For 128 channels on 28 x 28 pixels and a 3 x 3 kernel:

sizes = {"C": 128, "O": 128, "H": 28, "V": 28, "P": 28, "Q": 28, "R": 3, "S": 3}
x_shape, w_shape = (1, 128, 28, 28), (128, 128, 3, 3)
for formula, cost in [
    (standard, costs.conv2d(x_shape, w_shape, padding=1)),
    (depthwise, costs.depthwise_conv2d(x_shape, (128, 1, 3, 3), padding=1)),
]:
    assert abs(formula.evaluate(**sizes) - cost.arithmetic_intensity) < 1e-9
    print(f"{cost.arithmetic_intensity:.2f} FLOPs per byte")

# %%
# By hand, roughly: depthwise, every output takes 9 multiply-accumulates, 18 FLOPs, and moves one
# number in and one out, 8 bytes. ``18 / 8 = 2.25`` is little, and no better code will change
# that.
#
# The roofline
# ------------
# Measure how fast a core multiplies and adds in registers, and how fast it copies. Work that
# has an intensity below their quotient cannot be done at the speed of the first: it waits for
# numbers.

numba.set_num_threads(1)  # all on one core
peak = max(peaks.flops_per_second(1, "float32") for _ in range(3))
in_cache = max(peaks.bytes_per_second(1, 2**power) for power in (18, 20, 21, 22))
in_memory = max(peaks.bytes_per_second(1, 2**27) for _ in range(3))
print(f"peak {peak / 1e9:.0f} GF/s; copies {in_cache / 1e9:.0f} GB/s in cache, {in_memory / 1e9:.0f} in memory")
print(f"so work needs {peak / in_cache:.0f} to {peak / in_memory:.0f} FLOPs per byte to run at the peak")

limit = Formula("seconds = max(flops / peak, bytes / rate)")
limit

# %%
# Now six layers that all turn 128 channels into 128, forward,
# by npconv's compiled kernels, and each the fastest of many calls:

w3 = (128, 128, 3, 3)
layers = {
    "standard": (npconv.conv2d, [w3], {"padding": 1}, costs.conv2d(x_shape, w3, padding=1)),
    "4 groups": (
        npconv.conv2d,
        [(128, 32, 3, 3)],
        {"padding": 1, "groups": 4},
        costs.conv2d(x_shape, (128, 32, 3, 3), padding=1, groups=4),
    ),
    "depthwise": (
        npconv.depthwise_conv2d,
        [(128, 1, 3, 3)],
        {"padding": 1},
        costs.depthwise_conv2d(x_shape, (128, 1, 3, 3), padding=1),
    ),
    "pointwise": (
        npconv.pointwise_conv2d,
        [(128, 128, 1, 1)],
        {},
        costs.pointwise_conv2d(x_shape, (128, 128, 1, 1)),
    ),
    "separable": (
        npconv.separable_conv2d,
        [(128, 1, 3, 3), (128, 128, 1, 1)],
        {"padding": 1},
        costs.separable_conv2d(x_shape, w3, padding=1),
    ),
    "shuffle": (npconv.channel_shuffle, [], {"groups": 4}, costs.channel_shuffle(x_shape, 4)),
}
rng = np.random.default_rng(0)


def seconds(operator, weights, options):
    """The least time of a call, on channels-last maps, after one that compiles."""
    x = npconv.channels_last(rng.standard_normal(x_shape, np.float32))
    arrays = [rng.standard_normal(shape, np.float32) for shape in weights]
    times = []
    with npconv.backend("numba"):
        operator(x, *arrays, **options)
        for _ in range(50):
            begin = time.perf_counter()
            operator(x, *arrays, **options)
            times.append(time.perf_counter() - begin)
    return min(times)


measured = {name: seconds(*layer[:3]) for name, layer in layers.items()}
print(f"{'layer':<10} {'million MACs':>12} {'FLOPs/byte':>10} {'limit us':>9} {'us':>8} {'GF/s':>6}")
for name, (*_, cost) in layers.items():
    rates = {"flops": cost.flops, "bytes": cost.bytes_moved, "peak": peak, "rate": in_cache}
    least = float(limit.evaluate(**rates))
    assert abs(least - max(cost.flops / peak, cost.bytes_moved / in_cache)) < 1e-12
    print(
        f"{name:<10} {cost.macs / 1e6:12.2f} {cost.arithmetic_intensity:10.2f} {1e6 * least:9.1f}"
        f" {1e6 * measured[name]:8.1f} {cost.flops / measured[name] / 1e9:6.0f}"
    )

# %%
# Left: what FLOPs promise, and what the clock says, both relative to the standard layer. Right: the
# same layers under the machine's roof. A layer on the slope waits for memory; one on the flat part
# computes.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
names, base = list(layers), layers["standard"][3].macs
rows = np.arange(len(names))
promised = [layers[name][3].macs / base for name in names]
took = [measured[name] / measured["standard"] for name in names]
left.barh(rows - 0.2, promised, height=0.38, color=COLOURS[0], label="multiply-accumulates")
left.barh(rows + 0.2, took, height=0.38, color=COLOURS[1], label="time")
left.set_yticks(rows, names)
left.invert_yaxis()
left.set(xlabel="relative to the standard layer")
left.legend(loc="lower right")
line = np.geomspace(0.5, 500, 100)
for rate, style, name in [(in_cache, "-", "copy in cache"), (in_memory, "--", "copy in memory")]:
    roof = np.minimum(peak, rate * line) / 1e9
    right.loglog(line, roof, style, color="black", linewidth=1.2, label=name)
for (name, (*_, cost)), colour, marker in zip(layers.items(), COLOURS, "os^Dv*", strict=True):
    if cost.macs:
        reached = cost.flops / measured[name] / 1e9
        right.plot(cost.arithmetic_intensity, reached, marker, color=colour, markersize=9, label=name)
right.set(xlabel="FLOPs per byte", ylabel="GF/s")
right.grid(alpha=0.3)
right.legend(fontsize="small", loc="lower right")

# %%
# What to take home
# -----------------
# - A shuffle has no FLOPs at all, and takes time.
# - Depthwise layers have few FLOPs per byte: they are bound by memory, and a tenth of the work is
#   not a tenth of the time. Two layers in a row write and read the maps between them once more.
# - At so small a size there is a third cost, that of the call itself. It is in these times too.
# - Standard layers may be faster than their FLOPs: a 3 x 3 kernel has :doc:`an algorithm with fewer
#   products </explained/winograd>`.
# - So compare layers by time, on the machine that will run them, and use FLOPs to see what is left
#   to gain.
#
# ``npconv bench ops --plot roofline.png`` draws the same picture for every layer of the papers'
# networks, forward and backward, beside PyTorch where it is installed. ``npconv summary
# mobilenet_v1`` prints FLOPs per byte layer by layer, without running anything.
