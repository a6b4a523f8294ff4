"""What separable, ghost and octave convolutions are made of: the cost of each part, in each direction."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from npconv.costs.cost import CallCost, Cost, Direction, convolution_cost, map_cost, traffic
from npconv.geometry import Conv2dGeometry, GhostGeometry, OctaveGeometry, SeparableGeometry


def convolution_call(
    primitive: str, geometry: Conv2dGeometry, bias: bool, direction: Direction, count_padding: bool, itemsize: int
) -> CallCost:
    """A convolution of any kind, in one direction."""
    cost = convolution_cost(geometry, bias, direction, count_padding, itemsize)
    shapes = {
        "forward": (geometry.x_shape, geometry.y_shape),
        "input_grad": (geometry.y_shape, geometry.x_shape),
        "weight_grad": (geometry.y_shape, geometry.w_shape),
    }
    return CallCost(_directed(primitive, direction), kind_of(geometry), *shapes[direction], geometry.groups, cost)


def separable_calls(
    geometry: SeparableGeometry, bias: bool, direction: Direction, count_padding: bool, itemsize: int
) -> Iterator[CallCost]:
    """The depthwise part and the pointwise part."""
    yield convolution_call("depthwise_conv2d", geometry.depthwise, False, direction, count_padding, itemsize)
    yield convolution_call("pointwise_conv2d", geometry.pointwise, bias, direction, count_padding, itemsize)


def ghost_calls(
    geometry: GhostGeometry, direction: Direction, count_padding: bool, itemsize: int
) -> Iterator[CallCost]:
    """Both convolutions; backwards a primary map is read by the output and by its ghosts, whose gradients are added."""
    yield convolution_call("conv2d", geometry.primary, False, direction, count_padding, itemsize)
    if geometry.cheap is not None:
        yield convolution_call("depthwise_conv2d", geometry.cheap, False, direction, count_padding, itemsize)
        if direction == "input_grad":
            yield add_call(geometry.primary.y_shape, itemsize)


def octave_calls(
    geometry: OctaveGeometry, bias: bool, direction: Direction, count_padding: bool, itemsize: int
) -> Iterator[CallCost]:
    """Each path's pooling, convolution and up-sampling, adding where two of them meet, and the biases, one per output."""
    forward = direction == "forward"
    met: set[int] = set()
    for step in geometry.steps:
        path, upsampling = step.path, step.upsampling
        _, pooling = geometry.pooling_of(step)
        ends = (pooling.x_shape, pooling.y_shape), (upsampling.x_shape, upsampling.y_shape)
        for primitive, kind, shapes, factor in (
            ("avg_pool2d", "pool", ends[0], path.pool),
            ("upsample_nearest2d", "upsample", ends[1], path.repeat),
        ):
            if factor > 1 and direction != "weight_grad":
                cost = map_cost(*shapes, direction, itemsize)
                in_shape, out_shape = shapes if forward else shapes[::-1]
                yield CallCost(_directed(primitive, direction), kind, in_shape, out_shape, 1, cost)
        yield convolution_call("conv2d", step.convolution, False, direction, count_padding, itemsize)
        end = path.target if forward else path.source
        if end in met and direction != "weight_grad":
            yield add_call(upsampling.y_shape if forward else pooling.x_shape, itemsize)
        met.add(end)
    if bias and direction != "input_grad":
        for y_shape in filter(None, geometry.y_shapes):
            parameters = y_shape[1] if forward else 0
            cost = traffic(0, 0, y_shape[1], itemsize, parameters=parameters)
            yield CallCost("conv2d_bias_grad" if not forward else "add", "bias", y_shape, y_shape, 1, cost)


def add_call(shape: tuple[int, ...], itemsize: int) -> CallCost:
    """The sum of two maps of one shape."""
    size = prod(shape)
    return CallCost("add", "add", shape, shape, 1, traffic(2 * size, size, 0, itemsize))


def total(calls: Iterator[CallCost]) -> Cost:
    """The sum of the parts."""
    return sum((call.cost for call in calls), Cost())


def kind_of(geometry: Conv2dGeometry) -> str:
    """What `CallCost` says that a convolution is."""
    if geometry.groups > 1 and geometry.in_channels_per_group == 1:
        return "depthwise"
    if (geometry.kernel_height, geometry.kernel_width) == (1, 1):
        return "pointwise"
    return "group" if geometry.groups > 1 else "standard"


def _directed(primitive: str, direction: Direction) -> str:
    return primitive if direction == "forward" else f"{primitive}_{direction}"
