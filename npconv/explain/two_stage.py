"""Operators made of two convolutions: separable, ghost and octave convolution."""

from __future__ import annotations

from npconv import ops
from npconv.explain.explanation import Explanation, formulas, grid

_AT = "p + r - pad, q + s - pad"

EXPLANATIONS = (
    Explanation(
        op="separable_conv2d",
        idea="Filter each channel by itself, then mix the channels: a kernel that is a product of two small ones.",
        formulas=formulas(
            f"z[n, k < 2, p < 2, q < 2] = sum over r, s of x[n, k//m, {_AT}] * w_depthwise[k,0,r,s]",
            "y[n,o,p,q] = sum over k of z[n,k,p,q] * w_pointwise[o,k,0,0]",
            "dz[n,k,p,q] = sum over o of dy[n,o,p,q] * w_pointwise[o,k,0,0]",
            "dx[n,c,h,v] = sum over k, p, q, r, s with k//m = c and p + r - pad = h and q + s - pad = v"
            " of dz[n,k,p,q] * w_depthwise[k,0,r,s]",
            f"dw_depthwise[k,0,r,s] = sum over n, p, q of dz[n,k,p,q] * x[n, k//m, {_AT}]",
            "dw_pointwise[o,k,0,0] = sum over n, p, q of dy[n,o,p,q] * z[n,k,p,q]",
        ),
        derivation=(
            "z is the depthwise convolution of x, and y the pointwise convolution of z.",
            "Backward in the opposite order: dz is the pointwise convolution's gradient for its input,",
            "and then dx and dw_depthwise are the depthwise convolution's gradients for dz in dy's place.",
            "Put together, y is a standard convolution with w[o,c,r,s] = w_pointwise[o,c] * w_depthwise[c,r,s]:",
            "every output channel has the same spatial filters, differently weighted. That is what is given up.",
        ),
        arguments={
            "x": grid([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 0, 1], [0, 1, 0], [1, 0, 1]], shape=(1, 2, 3, 3)),
            "w_depthwise": grid([[1, 2], [3, 4]], [[1, 1], [1, 1]], shape=(2, 1, 2, 2)),
            "w_pointwise": grid([1, 10], shape=(1, 2, 1, 1)),
        },
        options={},
        dy=grid([1, 0], [0, 2]),
        letters={"pad": 0, "m": 1},
        cost="MACs = N * P * Q * C * (R * S + O)",
        source="MobileNets (arXiv 1704.04861), section 3.1",
    ),
    Explanation(
        op="ghost_conv2d",
        idea="Make a few maps by convolution, and the others, their ghosts, from these by a cheap filter.",
        formulas=formulas(
            f"z[n, k < maps, p < 3, q < 3] = sum over c, r, s of x[n, c, {_AT}] * w_primary[k,c,r,s]",
            "y[n,o,p,q] = z[n,o,p,q] if o < maps else sum over r, s"
            " of z[n, (o - maps)//ghosts, p + r - near, q + s - near] * w_cheap[o - maps, 0, r, s]",
            "dz[n, k < maps, h, v] = dy[n,k,h,v] + sum over g, p, q, r, s"
            " with g//ghosts = k and p + r - near = h and q + s - near = v of dy[n, maps + g, p, q] * w_cheap[g,0,r,s]",
            "dx[n,c,h,v] = sum over k, p, q, r, s with p + r - pad = h and q + s - pad = v of dz[n,k,p,q] * w_primary[k,c,r,s]",
            f"dw_primary[k,c,r,s] = sum over n, p, q of dz[n,k,p,q] * x[n, c, {_AT}]",
            "dw_cheap[g,0,r,s] = sum over n, p, q of dy[n, maps + g, p, q] * z[n, g//ghosts, p + r - near, q + s - near]",
        ),
        derivation=(
            "z, the primary maps, go to two places: into y as they are, and through the cheap filter into their ghosts.",
            "A gradient is the sum over all places: dz is dy of the primary maps plus what comes back through the filter.",
            "The way back through the filter is the depthwise convolution's gradient, for dy of the ghosts alone.",
            "dx and dw_primary are then the standard convolution's gradients for dz in dy's place.",
            "Each primary map has s - 1 ghosts, for the ratio s; near is half of the cheap filter's size, its padding.",
        ),
        arguments={
            "x": grid([1, 2, 3], [4, 5, 6], [7, 8, 9]),
            "w_primary": grid([2], shape=(1, 1, 1, 1)),
            "w_cheap": grid([0, 1, 0], [1, -4, 1], [0, 1, 0]),
        },
        options={},
        dy=grid([[1, 0, 0], [0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 1, 0], [0, 0, 0]], shape=(1, 2, 3, 3)),
        letters={"pad": 0, "near": 1, "maps": 1, "ghosts": 1},
        cost="",
        source="GhostNet (arXiv 1911.11907), section 3.1, equations 2 and 3",
    ),
    Explanation(
        op="octave_conv2d",
        idea="Keep what varies slowly at half the resolution, and let the two frequencies feed each other.",
        formulas=formulas(
            f"y_high[n,o,p,q] = (sum over c, r, s of x_high[n, c, {_AT}] * w_hh[o,c,r,s])"
            " + (sum over c, r, s of x_low[n, c, p//2 + r - pad, q//2 + s - pad] * w_lh[o,c,r,s])",
            f"y_low[n,o,p,q] = (sum over c, r, s of x_low[n, c, {_AT}] * w_ll[o,c,r,s])"
            " + (sum over c, r, s, i < 2, j < 2 of x_high[n, c, 2*(p + r - pad) + i, 2*(q + s - pad) + j] * w_hl[o,c,r,s]) / 4",
            "dx_high[n,c,h,v] = (sum over o, p, q, r, s with p + r - pad = h and q + s - pad = v of dy_high[n,o,p,q] * w_hh[o,c,r,s])"
            " + (sum over o, p, q, r, s with p + r - pad = h//2 and q + s - pad = v//2 of dy_low[n,o,p,q] * w_hl[o,c,r,s]) / 4",
            "dx_low[n,c,h,v] = (sum over o, p, q, r, s with p + r - pad = h and q + s - pad = v of dy_low[n,o,p,q] * w_ll[o,c,r,s])"
            " + (sum over o, p, q, r, s with p//2 + r - pad = h and q//2 + s - pad = v of dy_high[n,o,p,q] * w_lh[o,c,r,s])",
            f"dw_hh[o,c,r,s] = sum over n, p, q of dy_high[n,o,p,q] * x_high[n, c, {_AT}]",
            "dw_hl[o,c,r,s] = (sum over n, p, q, i < 2, j < 2"
            " of dy_low[n,o,p,q] * x_high[n, c, 2*(p + r - pad) + i, 2*(q + s - pad) + j]) / 4",
            "dw_lh[o,c,r,s] = sum over n, p, q of dy_high[n,o,p,q] * x_low[n, c, p//2 + r - pad, q//2 + s - pad]",
            f"dw_ll[o,c,r,s] = sum over n, p, q of dy_low[n,o,p,q] * x_low[n, c, {_AT}]",
        ),
        derivation=(
            "Four convolutions: high to high, low to low, high to low on the means of 2 x 2 pixels, low to high repeated 2 x 2.",
            "Each gradient of a map adds up two paths back, as the map was read by two convolutions.",
            "The mean's gradient gives a quarter of its dy to each of the four pixels: hence h//2, v//2 and the division by 4.",
            "Repeating's gradient adds up the four outputs that repeat one number: hence p//2, q//2 under the sum.",
            "The kernels' gradients read exactly what the forward multiplied each kernel by.",
        ),
        arguments={
            "x": ops.OctaveMap(
                grid([1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]), grid([10, 20], [30, 40])
            ),
            "w": ops.OctaveWeight(
                hh=grid([1], shape=(1, 1, 1, 1)),
                hl=grid([2], shape=(1, 1, 1, 1)),
                lh=grid([3], shape=(1, 1, 1, 1)),
                ll=grid([4], shape=(1, 1, 1, 1)),
            ),
        },
        options={},
        dy=ops.OctaveMap(grid([1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 2]), grid([4, 0], [0, 0])),
        letters={"pad": 0},
        cost="",
        source="Drop an Octave (arXiv 1904.05049), section 3.2, equation 4",
    ),
)
