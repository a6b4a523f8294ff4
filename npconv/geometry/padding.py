"""All forms of padding, and how many outputs they make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from npconv.geometry.checks import Pair, is_sequence, is_word, pair, shown

Padding: TypeAlias = "int | Sequence[int] | Sequence[Sequence[int]] | Literal['valid', 'same', 'same_lower']"
Sides: TypeAlias = tuple[Pair, Pair]  # of padding: (top, bottom), (left, right)


def effective_kernel(kernel: int, dilation: int) -> int:
    """Pixels from the first to the last tap of a dilated kernel, both included."""
    return dilation * (kernel - 1) + 1


def same_padding(size: int, kernel: int, stride: int, dilation: int, *, lower: bool) -> Pair:
    """(before, after) so that the output has ceil(size / stride) pixels; the odd pixel goes after, or before if `lower`.

    TensorFlow's SAME and ONNX's SAME_UPPER (SAME_LOWER if `lower`), at any stride.
    """
    out = -(-size // stride)
    total = max((out - 1) * stride + effective_kernel(kernel, dilation) - size, 0)
    small, large = total // 2, total - total // 2
    return (large, small) if lower else (small, large)


def padding_form(padding: object) -> Sides | str:
    """Any form of `padding` as ((top, bottom), (left, right)), or as the string that it is."""
    if isinstance(padding, str):
        if not is_word(padding, ("valid", "same", "same_lower")):
            raise ValueError(
                f"padding must be 'valid', 'same' or 'same_lower' where it is a string, got {shown(padding)}"
            )
        return str(padding)
    if is_sequence(padding):
        nested = [is_sequence(side) for side in padding]
        if len(nested) != 2 or nested[0] != nested[1]:
            raise ValueError(
                f"padding must be an int, (rows, columns), ((top, bottom), (left, right)) or a string, got {shown(padding)}"
            )
        if nested[0]:
            return pair("padding", padding[0], minimum=0), pair("padding", padding[1], minimum=0)
    rows, columns = pair("padding", padding, minimum=0)
    return (rows, rows), (columns, columns)


def explicit_padding(padding: object, size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> Sides:
    """Any form of `padding` as ((top, bottom), (left, right)), for an input of that size under that kernel."""
    sides = padding_form(padding)
    if not isinstance(sides, str):
        return sides
    if sides == "valid":
        return (0, 0), (0, 0)
    lower = sides == "same_lower"
    return (
        same_padding(size[0], kernel[0], stride[0], dilation[0], lower=lower),
        same_padding(size[1], kernel[1], stride[1], dilation[1], lower=lower),
    )


def output_size(axis: str, size: int, kernel: int, stride: int, dilation: int, pads: Pair) -> int:
    """Outputs along one axis: floor((size + pads - effective kernel) / stride) + 1."""
    padded, reach = size + sum(pads), effective_kernel(kernel, dilation)
    if reach > padded:
        raise ValueError(
            f"the kernel must fit into the padded input, got an effective kernel {axis} of {reach} = "
            f"{dilation} * ({kernel} - 1) + 1 on a padded {axis} of {padded} = {size} + {pads[0]} + {pads[1]}"
        )
    return (padded - reach) // stride + 1
