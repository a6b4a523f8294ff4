"""Known bugs of convolution code, each as a wrong version of one primitive or operator. Most are somebody's real bug."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from npconv import ops, reference


class Bug(NamedTuple):
    """`plant(right)` makes the wrong function of the right one; `primitive` names it in the reference, or in ops."""

    primitive: str
    plant: object
    op: str
    caught_by: tuple[str, ...]
    module: object = reference


def on_argument(number, change):
    """The function, given the changed argument of that number; the last argument, the geometry, says how."""
    return lambda right: lambda *args: right(*args[:number], change(args[number], args[-1]), *args[number + 1 :])


def on_geometry(change):
    return lambda right: lambda *args: right(*args[:-1], change(args[-1]))


def on_result(change):
    return lambda right: lambda *args: change(right(*args), args[-1])


def swapped_sides(geometry):
    return geometry._replace(
        pad_top=geometry.pad_bottom,
        pad_bottom=geometry.pad_top,
        pad_left=geometry.pad_right,
        pad_right=geometry.pad_left,
    )


def one_row_too_high(geometry):
    more = min(1, geometry.pad_bottom)
    return geometry._replace(pad_top=geometry.pad_top + more, pad_bottom=geometry.pad_bottom - more)


def smaller_dilation(geometry):
    return geometry._replace(dilation_height=max(1, geometry.dilation_height - 1))


def without_last_row(y, geometry):
    y = y.copy()
    y[:, :, geometry.out_height // 2 + 1 :] = 0
    return y


def from_the_end(dx, geometry):
    """As if the rows that the floor case leaves over were the first, not the last."""
    padded = geometry.in_height + geometry.pad_top + geometry.pad_bottom
    reach = (geometry.kernel_height - 1) * geometry.dilation_height + 1
    return np.roll(dx, (padded - reach) % geometry.stride_height, axis=2)


def last_group_doubled(dw, geometry):
    dw = dw.copy()
    dw[-geometry.out_channels_per_group :] *= 2 if geometry.groups > 1 else 1
    return dw


def transposed(array, _):
    return array.swapaxes(2, 3).copy() if array.shape[2] == array.shape[3] else array


def rotated(w, _):
    return w[:, :, ::-1, ::-1]


def next_group(array, geometry):
    return np.roll(array, array.shape[1] // geometry.groups, axis=1)


def by_multiplier_first(w, geometry):
    multiplier = geometry.out_channels_per_group
    return w.reshape(multiplier, -1, *w.shape[1:]).swapaxes(0, 1).reshape(w.shape)


def tie_to_the_last(right):
    """Both images turned by half a turn: the last of equals becomes the first. A window is as large on both sides."""

    def turned(dy, x, geometry):
        height = (geometry.out_height - 1) * geometry.stride_height + geometry.kernel_height
        width = (geometry.out_width - 1) * geometry.stride_width + geometry.kernel_width
        turned_geometry = geometry._replace(
            pad_top=height - geometry.in_height - geometry.pad_top,
            pad_left=width - geometry.in_width - geometry.pad_left,
        )
        if min(turned_geometry.pad_top, turned_geometry.pad_left) < 0:
            return right(dy, x, geometry)
        return np.flip(right(np.flip(dy, (2, 3)), np.flip(x, (2, 3)), turned_geometry), (2, 3))

    return turned


def strided_pick(right):
    """As OctConv's text could be read: the first pixel of each window, not the mean."""

    def avg_pool2d(x, count_include_pad, geometry):
        return x[:, :, :: geometry.stride_height, :: geometry.stride_width].copy()

    return avg_pool2d


def interleaved(right):
    """Each primary map followed by its ghosts, as the formula of the paper has it."""

    def ghost_conv2d(x, w_primary, *args, **options):
        y = right(x, w_primary, *args, **options)
        maps, ratio = len(w_primary), y.shape[1] // len(w_primary)
        if y.shape[1] != maps * ratio:
            return y
        ghosts = y[:, maps:].reshape(len(y), maps, ratio - 1, *y.shape[2:])
        return np.concatenate([y[:, :maps, None], ghosts], axis=2).reshape(y.shape)

    return ghost_conv2d


def in_half_precision(x, _):
    """Of float32 only, which the same operator in float64 is to judge."""
    return x.astype(np.float16).astype(np.float32) if x.dtype == np.float32 else x


def unbiased(right):
    def batch_norm2d_batch(x, gamma, beta, eps, activation):
        _, mean, var = right(x, gamma, beta, eps, activation)
        count = x.size // x.shape[1]
        var = var * x.dtype.type(count / max(count - 1, 1))
        return reference.batch_norm2d(x, gamma, beta, mean, var, eps, activation), mean, var

    return batch_norm2d_batch


def statistics_held_fixed(right):
    return lambda *args: reference.batch_norm2d_fixed_grad(*args)[:3]


EVERY = ("forward", "adjoint", "differences")  # a wrong forward beside a right backward
GRADIENT = ("backward", "adjoint", "differences")  # the other way round

BUGS = {
    # forward
    "each group reads the next group's channels": Bug("conv2d", on_argument(0, next_group), "conv2d", EVERY),
    "flipped taps": Bug("conv2d", on_argument(1, rotated), "conv2d", EVERY),
    "transposed kernel": Bug("conv2d", on_argument(1, transposed), "conv2d", EVERY),
    "last rows lost": Bug("conv2d", on_result(without_last_row), "conv2d", EVERY),
    "padding one row too high": Bug("conv2d", on_geometry(one_row_too_high), "conv2d", EVERY),
    "SAME on the wrong side": Bug("conv2d", on_geometry(swapped_sides), "conv2d", EVERY),
    "dilation one too small": Bug("conv2d", on_geometry(smaller_dilation), "conv2d", EVERY),
    "bias added twice": Bug("conv2d", on_argument(2, lambda b, _: b if b is None else 2 * b), "conv2d", EVERY),
    "half precision inside": Bug("conv2d", on_argument(0, in_half_precision), "conv2d", ("rounding",)),
    "multiplier before channel": Bug(
        "depthwise_conv2d", on_argument(1, by_multiplier_first), "depthwise_conv2d", EVERY
    ),
    "depthwise SAME on the wrong side": Bug(
        "depthwise_conv2d", on_geometry(swapped_sides), "separable_conv2d", EVERY, reference.separable
    ),
    "pointwise groups swapped": Bug("pointwise_conv2d", on_argument(0, next_group), "pointwise_conv2d", EVERY),
    "octave up-sampled one pixel late": Bug(
        "upsample_nearest2d", on_result(lambda y, _: np.roll(y, 1, axis=3)), "octave_conv2d", EVERY, reference.octave
    ),
    "octave pooled by picking": Bug("avg_pool2d", strided_pick, "octave_conv2d", EVERY, reference.octave),
    "ghosts interleaved": Bug("ghost_conv2d", interleaved, "ghost_conv2d", EVERY, ops),
    "average counts padding": Bug("avg_pool2d", on_argument(1, lambda *_: True), "avg_pool2d", EVERY),
    "maximum over padding of 0": Bug(
        "max_pool2d", on_result(lambda y, g: np.maximum(y, 0) if g.pad_top else y), "max_pool2d", EVERY
    ),
    "unbiased variance": Bug("batch_norm2d_batch", unbiased, "batch_norm2d", ("forward",)),
    "loss summed, not averaged": Bug(
        "softmax_cross_entropy",
        lambda right: lambda logits, *args: right(logits, *args) * logits.dtype.type(len(logits)),
        "softmax_cross_entropy",
        ("forward", "differences"),
    ),
    # backward
    "floor case counted from the wrong end": Bug("conv2d_input_grad", on_result(from_the_end), "conv2d", GRADIENT),
    "gradient not rotated": Bug("conv2d_input_grad", on_argument(1, rotated), "conv2d", GRADIENT),
    "dx shifted by a column": Bug(
        "conv2d_input_grad", on_result(lambda dx, _: np.roll(dx, 1, axis=3)), "conv2d", GRADIENT
    ),
    "dx from the wrong group": Bug("conv2d_input_grad", on_argument(0, next_group), "conv2d", GRADIENT),
    "transposed dy": Bug("conv2d_weight_grad", on_argument(0, transposed), "conv2d", GRADIENT),
    "dw of the last group doubled": Bug("conv2d_weight_grad", on_result(last_group_doubled), "conv2d", GRADIENT),
    "db of the first image only": Bug("conv2d_bias_grad", lambda right: lambda dy: right(dy[:1]), "conv2d", GRADIENT),
    "pixels that the stride skipped get gradients": Bug(
        "pointwise_conv2d_input_grad",
        on_result(lambda dx, g: dx + np.roll(dx, 1, axis=3) if g.stride_width > 1 else dx),
        "pointwise_conv2d",
        GRADIENT,
    ),
    "shuffled instead of unshuffled": Bug(
        "channel_unshuffle", lambda right: reference.channel_shuffle, "channel_shuffle", GRADIENT
    ),
    "tie to the last": Bug("max_pool2d_input_grad", tie_to_the_last, "max_pool2d", ("backward",)),
    "average's share not divided at the border": Bug(
        "avg_pool2d_input_grad", on_argument(1, lambda *_: True), "avg_pool2d", GRADIENT
    ),
    "up-sampling's gradient averaged": Bug(
        "upsample_nearest2d_input_grad",
        on_result(lambda dx, g: dx / (g.scale_height * g.scale_width)),
        "upsample_nearest2d",
        GRADIENT,
    ),
    "batch statistics held fixed": Bug(
        "batch_norm2d_batch_grad", statistics_held_fixed, "batch_norm2d", ("differences",)
    ),
    "relu6 open at the top": Bug(
        "relu6_input_grad", lambda right: reference.relu_input_grad, "relu6", ("backward", "differences")
    ),
    "dw of linear transposed": Bug(
        "linear_weight_grad",
        on_result(lambda dw, _: dw.T if dw.shape[0] == dw.shape[1] else dw),
        "linear",
        GRADIENT,
    ),
    "loss gradient not averaged": Bug(
        "softmax_cross_entropy_input_grad",
        lambda right: lambda dy, logits, *args: right(dy, logits, *args) * logits.dtype.type(len(logits)),
        "softmax_cross_entropy",
        ("backward", "differences"),
    ),
}

# Forward and backward agree on the wrong operator: every gradient check is content, only the definition is not.
SHARED = {
    "a true convolution": {
        "conv2d": on_argument(1, rotated),
        "conv2d_input_grad": on_argument(1, rotated),
        "conv2d_weight_grad": on_result(rotated),
    },
    "SAME on the wrong side, both ways": dict.fromkeys(
        ("conv2d", "conv2d_input_grad", "conv2d_weight_grad"), on_geometry(swapped_sides)
    ),
}
