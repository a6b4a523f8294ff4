"""The slow oracle: every operator as the sums that define it, one number at a time, from NumPy and nothing of npconv.

Each function takes what the operator takes. The arithmetic is that of the arrays' dtype, so float64 arrays of whole
numbers give exact results. Where a gradient is as literal as its operator, it is here too: `conv2d_backward` visits the
products of `conv2d` and hands each one's dy to its two factors.

Letters: n batch, g group, c input channel in its group, o output channel, p q output row and column, r s kernel row and
column, h v input row and column; capitals are their counts.
"""

# ruff: noqa: E741  (O is what everybody calls the number of output channels)

from __future__ import annotations

import numpy as np

# --- sizes -------------------------------------------------------------------------------------------------------


def pair(value):
    """(rows, columns) of an int or a pair."""
    return (value, value) if np.ndim(value) == 0 else tuple(value)


def output_size(size, kernel, stride, dilation, pads):
    """How many times the kernel fits: the first tap at 0, stride, 2 * stride, ... and the last tap still inside."""
    count = 0
    while count * stride + (kernel - 1) * dilation < size + sum(pads):
        count += 1
    return count


def sides(padding, size, kernel, stride, dilation=(1, 1)):
    """((top, bottom), (left, right)) of any form of padding.

    "same" is the least padding that gives ceil(size / stride) outputs; its odd pixel goes to the end, or to the
    beginning for "same_lower".
    """
    if padding == "valid":
        return (0, 0), (0, 0)
    if isinstance(padding, str):
        result = []
        for length, k, s, d in zip(size, kernel, stride, dilation, strict=True):
            total = 0
            while output_size(length, k, s, d, (total, 0)) < np.ceil(length / s):
                total += 1
            pads = (total // 2, total - total // 2)
            result.append(pads if padding == "same" else pads[::-1])
        return tuple(result)
    rows, columns = pair(padding)
    return pair(rows), pair(columns)


# --- convolutions ------------------------------------------------------------------------------------------------


def conv2d_taps(x_shape, w_shape, stride=1, padding=0, dilation=1, groups=1):
    """The output's shape, and every product of a convolution: where it is in y, in x and in w. Padding has none."""
    (N, _, H, W), (O, C_in_group, R, S) = x_shape, w_shape
    (stride_h, stride_w), (dilation_h, dilation_w) = pair(stride), pair(dilation)
    (top, bottom), (left, right) = sides(padding, (H, W), (R, S), (stride_h, stride_w), (dilation_h, dilation_w))
    P = output_size(H, R, stride_h, dilation_h, (top, bottom))
    Q = output_size(W, S, stride_w, dilation_w, (left, right))
    taps = []
    for n, o, p, q in np.ndindex(N, O, P, Q):
        g = o // (O // groups)
        for c, r, s in np.ndindex(C_in_group, R, S):
            h = p * stride_h + r * dilation_h - top
            v = q * stride_w + s * dilation_w - left
            if 0 <= h < H and 0 <= v < W:
                taps.append(((n, o, p, q), (n, g * C_in_group + c, h, v), (o, c, r, s)))
    return (N, O, P, Q), taps


def conv2d(x, w, b=None, **options):
    y_shape, taps = conv2d_taps(x.shape, w.shape, **options)
    y = np.zeros(y_shape, x.dtype)
    for at_y, at_x, at_w in taps:
        y[at_y] += x[at_x] * w[at_w]
    if b is not None:
        for n, o, p, q in np.ndindex(y.shape):
            y[n, o, p, q] += b[o]
    return y


def conv2d_backward(dy, x, w, b=None, **options):
    _, taps = conv2d_taps(x.shape, w.shape, **options)
    dx, dw = np.zeros(x.shape, x.dtype), np.zeros(w.shape, x.dtype)
    for at_y, at_x, at_w in taps:
        dx[at_x] += dy[at_y] * w[at_w]
        dw[at_w] += dy[at_y] * x[at_x]
    if b is None:
        return dx, dw, None
    db = np.zeros(b.shape, x.dtype)
    for n, o, p, q in np.ndindex(dy.shape):
        db[o] += dy[n, o, p, q]
    return dx, dw, db


def depthwise_conv2d(x, w, b=None, **options):
    return conv2d(x, w, b, groups=x.shape[1], **options)


def depthwise_conv2d_backward(dy, x, w, b=None, **options):
    return conv2d_backward(dy, x, w, b, groups=x.shape[1], **options)


def pointwise_conv2d(x, w, b=None, *, stride=1, groups=1):
    (N, C, H, W), O = x.shape, w.shape[0]
    stride_h, stride_w = pair(stride)
    y = np.zeros((N, O, len(range(0, H, stride_h)), len(range(0, W, stride_w))), x.dtype)
    for n, o, p, q in np.ndindex(y.shape):
        g = o // (O // groups)
        for c in range(C // groups):
            y[n, o, p, q] += x[n, g * (C // groups) + c, p * stride_h, q * stride_w] * w[o, c, 0, 0]
        if b is not None:
            y[n, o, p, q] += b[o]
    return y


def pointwise_conv2d_backward(dy, x, w, b=None, *, stride=1, groups=1):
    return conv2d_backward(dy, x, w, b, stride=stride, groups=groups)


def separable_conv2d(x, w_depthwise, w_pointwise, b=None, **options):
    """y[n,o,p,q] = b[o] + sum over k of w_pointwise[o,k] * (channel k // m under the depthwise kernel k)."""
    filtered_shape, taps = conv2d_taps(x.shape, w_depthwise.shape, groups=x.shape[1], **options)
    O = w_pointwise.shape[0]
    y = np.zeros((filtered_shape[0], O, *filtered_shape[2:]), x.dtype)
    for (n, k, p, q), at_x, at_w in taps:
        for o in range(O):
            y[n, o, p, q] += w_pointwise[o, k, 0, 0] * (x[at_x] * w_depthwise[at_w])
    if b is not None:
        for n, o, p, q in np.ndindex(y.shape):
            y[n, o, p, q] += b[o]
    return y


# --- octave ------------------------------------------------------------------------------------------------------


def pixel_mean(x, n, c, h, v, factor):
    """The mean of the pixels of block (h, v), factor x factor, that the image has: 2 is the paper's half-pixel rule."""
    _, _, H, W = x.shape
    block = [
        x[n, c, row, column]
        for row in range(h * factor, (h + 1) * factor)
        for column in range(v * factor, (v + 1) * factor)
        if row < H and column < W
    ]
    return sum(block) / len(block)


def octave_conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1, stride_mode="pool", depthwise=False):
    """Drop an Octave, equations 2 and 3: what each of the four kernels reads, and where its sum goes.

    hh reads x_high(p, q); hl the mean of the 2 x 2 pixels at (2p, 2q) of x_high; ll reads x_low(p, q); lh adds to the
    high output (p, q) what it finds at (p // 2, q // 2) of x_low. With stride 2 by pooling, everything read is averaged over 2 x 2
    pixels once more, but for lh, whose map has the output's size already.
    """
    (high, low), (hh, hl, lh, ll) = x, w
    pooled_first = stride_mode == "pool" and pair(stride) != (1, 1)
    options = {"stride": 1 if pooled_first else stride, "padding": padding, "dilation": dilation, "groups": groups}
    again = 2 if pooled_first else 1
    y_high = _sum_of_paths((high, hh, again, 1), (low, lh, 1, 1 if pooled_first else 2), options, depthwise)
    y_low = _sum_of_paths((low, ll, again, 1), (high, hl, 2 * again, 1), options, depthwise)
    for y, bias in zip((y_high, y_low), b or (None, None), strict=True):
        if bias is not None:
            for n, o, p, q in np.ndindex(y.shape):
                y[n, o, p, q] += bias[o]
    return y_high, y_low


def _sum_of_paths(own, other, options, depthwise):
    """Two paths to one output, (x, w, factor of averaging, factor of repeating) each. The own one, if there, has the output's size."""
    y = None
    for x, w, averaged, repeated in (own, other):
        if w is None:
            continue
        N, C, H, W = x.shape
        x_shape = (N, C, -(-H // averaged), -(-W // averaged))
        y_shape, taps = conv2d_taps(x_shape, w.shape, **options | ({"groups": C} if depthwise else {}))
        if y is None:
            y = np.zeros((*y_shape[:2], y_shape[2] * repeated, y_shape[3] * repeated), x.dtype)
        for (n, o, p, q), (_, c, h, v), at_w in taps:
            product = pixel_mean(x, n, c, h, v, averaged) * w[at_w]
            for row in range(p * repeated, (p + 1) * repeated):
                for column in range(q * repeated, (q + 1) * repeated):
                    if row < y.shape[2] and column < y.shape[3]:
                        y[n, o, row, column] += product
    return y


def octave_depthwise_conv2d(x, w, b=None, **options):
    return octave_conv2d(x, w, b, **options, depthwise=True)


# --- ghost and shuffle -------------------------------------------------------------------------------------------


def ghost_conv2d(x, w_primary, w_cheap, *, out_channels=None, **options):
    """Output channel o is primary map o, or, from m on, ghost o - m, which reads primary map (o - m) // (ratio - 1)."""
    primary = conv2d(x, w_primary, **options)
    N, m, P, Q = primary.shape
    ghosts = 0 if w_cheap is None else w_cheap.shape[0]
    O = m + ghosts if out_channels is None else out_channels
    y = np.zeros((N, O, P, Q), x.dtype)
    for n, o, p, q in np.ndindex(y.shape):
        if o < m:
            y[n, o, p, q] = primary[n, o, p, q]
            continue
        ghost = o - m
        _, _, R, S = w_cheap.shape
        for r, s in np.ndindex(R, S):
            h, v = p + r - (R - 1) // 2, q + s - (S - 1) // 2
            if 0 <= h < P and 0 <= v < Q:
                y[n, o, p, q] += primary[n, ghost // (ghosts // m), h, v] * w_cheap[ghost, 0, r, s]
    return y


def channel_shuffle(x, *, groups):
    per_group = x.shape[1] // groups
    y = np.zeros(x.shape, x.dtype)
    for a, b in np.ndindex(groups, per_group):
        y[:, b * groups + a] = x[:, a * per_group + b]
    return y


def channel_unshuffle(x, *, groups):
    per_group = x.shape[1] // groups
    y = np.zeros(x.shape, x.dtype)
    for a, b in np.ndindex(groups, per_group):
        y[:, a * per_group + b] = x[:, b * groups + a]
    return y


def channel_shuffle_backward(dy, x, *, groups):
    return channel_unshuffle(dy, groups=groups)


def channel_unshuffle_backward(dy, x, *, groups):
    return channel_shuffle(dy, groups=groups)


# --- pooling and up-sampling -------------------------------------------------------------------------------------


def pool2d_windows(x_shape, kernel, stride=None, padding=0, ceil_mode=False):
    """For each window (p, q): its pixels (h, v), in row order, and how many it has with the padding counted."""
    _, _, H, W = x_shape
    kernel, stride = pair(kernel), pair(kernel if stride is None else stride)
    pads = sides(padding, (H, W), kernel, stride)
    axes = []
    for size, k, s, (before, after) in zip((H, W), kernel, stride, pads, strict=True):
        starts = [-before]
        # The next window: a whole one, or, in ceil mode, one that starts before the padding at the end.
        while (
            starts[-1] + k < size + after and starts[-1] + s < size if ceil_mode else starts[-1] + s + k <= size + after
        ):
            starts.append(starts[-1] + s)
        axes.append([range(start, min(start + k, size + after)) for start in starts])
    return {
        (p, q): ([(h, v) for h in rows if 0 <= h < H for v in columns if 0 <= v < W], len(rows) * len(columns))
        for p, rows in enumerate(axes[0])
        for q, columns in enumerate(axes[1])
    }


def avg_pool2d(x, *, count_include_pad=False, **options):
    windows = pool2d_windows(x.shape, **options)
    y = np.zeros((*x.shape[:2], *np.add(max(windows), 1)), x.dtype)
    for n, c, p, q in np.ndindex(y.shape):
        pixels, with_padding = windows[p, q]
        total = sum(x[n, c, h, v] for h, v in pixels)
        y[n, c, p, q] = total / (with_padding if count_include_pad else len(pixels))
    return y


def avg_pool2d_backward(dy, x, *, count_include_pad=False, **options):
    windows = pool2d_windows(x.shape, **options)
    dx = np.zeros(x.shape, x.dtype)
    for n, c, p, q in np.ndindex(dy.shape):
        pixels, with_padding = windows[p, q]
        for h, v in pixels:
            dx[n, c, h, v] += dy[n, c, p, q] / (with_padding if count_include_pad else len(pixels))
    return dx


def max_pool2d(x, **options):
    windows = pool2d_windows(x.shape, **options)
    y = np.zeros((*x.shape[:2], *np.add(max(windows), 1)), x.dtype)
    for n, c, p, q in np.ndindex(y.shape):
        y[n, c, p, q] = max(x[n, c, h, v] for h, v in windows[p, q][0])
    return y


def max_pool2d_backward(dy, x, **options):
    """`max` of a list gives the first of equals."""
    windows = pool2d_windows(x.shape, **options)
    dx = np.zeros(x.shape, x.dtype)
    for n, c, p, q in np.ndindex(dy.shape):
        winner = max(windows[p, q][0], key=lambda pixel, n=n, c=c: x[n, c, pixel[0], pixel[1]])
        dx[(n, c, *winner)] += dy[n, c, p, q]
    return dx


def global_avg_pool2d(x):
    N, C, H, W = x.shape
    y = np.zeros((N, C, 1, 1), x.dtype)
    for n, c in np.ndindex(N, C):
        y[n, c, 0, 0] = sum(x[n, c, h, v] for h, v in np.ndindex(H, W)) / (H * W)
    return y


def global_avg_pool2d_backward(dy, x):
    _, _, H, W = x.shape
    dx = np.zeros(x.shape, x.dtype)
    for n, c, h, v in np.ndindex(dx.shape):
        dx[n, c, h, v] = dy[n, c, 0, 0] / (H * W)
    return dx


def upsample_nearest2d(x, *, scale=2, size=None):
    N, C, H, W = x.shape
    scale_h, scale_w = pair(scale)
    P, Q = (H * scale_h, W * scale_w) if size is None else pair(size)
    y = np.zeros((N, C, P, Q), x.dtype)
    for n, c, p, q in np.ndindex(y.shape):
        y[n, c, p, q] = x[n, c, p // scale_h, q // scale_w]
    return y


def upsample_nearest2d_backward(dy, x, *, scale=2, size=None):
    scale_h, scale_w = pair(scale)
    dx = np.zeros(x.shape, x.dtype)
    for n, c, p, q in np.ndindex(dy.shape):
        dx[n, c, p // scale_h, q // scale_w] += dy[n, c, p, q]
    return dx


# --- the rest of a network ---------------------------------------------------------------------------------------


def batch_norm2d(x, gamma, beta, mean=None, var=None, *, eps=1e-5):
    y = np.zeros(x.shape, x.dtype)
    N, C, H, W = x.shape
    for c in range(C):
        if mean is None:
            pixels = [x[n, c, h, v] for n, h, v in np.ndindex(N, H, W)]
            centre = sum(pixels) / len(pixels)
            spread = sum((pixel - centre) ** 2 for pixel in pixels) / len(pixels)
        else:
            centre, spread = mean[c], var[c]
        for n, h, v in np.ndindex(N, H, W):
            y[n, c, h, v] = gamma[c] * (x[n, c, h, v] - centre) / (spread + eps) ** 0.5 + beta[c]
    return y


def elementwise(function):
    """An operator that does the same to each number of an array."""

    def on_array(x):
        y = np.zeros(x.shape, x.dtype)
        for index in np.ndindex(x.shape):
            y[index] = function(x[index])
        return y

    return on_array


def elementwise_backward(slope):
    """The gradient of an element-by-element operator: dy times the slope at x."""

    def on_arrays(dy, x):
        dx = np.zeros(x.shape, x.dtype)
        for index in np.ndindex(x.shape):
            dx[index] = dy[index] * slope(x[index])
        return dx

    return on_arrays


relu = elementwise(lambda x: x if x > 0 else 0)
relu_backward = elementwise_backward(lambda x: 1 if x > 0 else 0)
relu6 = elementwise(lambda x: 0 if x < 0 else 6 if x > 6 else x)
relu6_backward = elementwise_backward(lambda x: 1 if 0 < x < 6 else 0)
hard_sigmoid = elementwise(lambda x: 0 if x < -3 else 1 if x > 3 else (x + 3) / 6)
hard_sigmoid_backward = elementwise_backward(lambda x: 1 / 6 if -3 < x < 3 else 0)
hard_swish = elementwise(lambda x: 0 if x < -3 else x if x > 3 else x * (x + 3) / 6)
hard_swish_backward = elementwise_backward(lambda x: 0 if x <= -3 else 1 if x >= 3 else (2 * x + 3) / 6)


def linear(x, w, b=None):
    (N, C), O = x.shape, w.shape[0]
    y = np.zeros((N, O), x.dtype)
    for n, o in np.ndindex(N, O):
        y[n, o] = sum(x[n, c] * w[o, c] for c in range(C)) + (0 if b is None else b[o])
    return y


def linear_backward(dy, x, w, b=None):
    dx, dw = np.zeros(x.shape, x.dtype), np.zeros(w.shape, x.dtype)
    for n, o in np.ndindex(dy.shape):
        for c in range(x.shape[1]):
            dx[n, c] += dy[n, o] * w[o, c]
            dw[o, c] += dy[n, o] * x[n, c]
    return dx, dw, None if b is None else np.array([sum(dy[:, o]) for o in range(len(b))], x.dtype)


def softmax_cross_entropy(logits, *, labels, label_smoothing=0.0):
    """With the target 1 - a at the label plus a / K everywhere."""
    N, K = logits.shape
    total = 0.0
    for n in range(N):
        log_of_sum = np.log(sum(np.exp(logits[n, k]) for k in range(K)))
        for k in range(K):
            target = label_smoothing / K + (1 - label_smoothing if k == labels[n] else 0)
            total -= target * (logits[n, k] - log_of_sum)
    return np.array(total / N, logits.dtype)


def softmax_cross_entropy_backward(dy, logits, *, labels, label_smoothing=0.0):
    N, K = logits.shape
    dlogits = np.zeros(logits.shape, logits.dtype)
    for n, k in np.ndindex(N, K):
        probability = np.exp(logits[n, k]) / sum(np.exp(logits[n, j]) for j in range(K))
        target = label_smoothing / K + (1 - label_smoothing if k == labels[n] else 0)
        dlogits[n, k] = dy * (probability - target) / N
    return dlogits
