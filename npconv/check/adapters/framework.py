"""What the adapters of all frameworks share: operators that are made of others, gradients, and calls as text.

A framework's own functions are methods of a subclass of `Framework`: see `npconv.check.adapters`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np

from npconv import ops
from npconv.check.adapters import Unsupported
from npconv.check.adapters.definitions import arguments, call, definitions, listed
from npconv.check.adapters.padding import pair, window
from npconv.testing.gradients import Array, Tree, map_arrays, named_arrays

Tensor: TypeAlias = Any
"""A framework's array: with a ``shape``, and with ``+``, ``*``, ``/`` and slices as NumPy's have."""
Maps: TypeAlias = tuple[Any, ...]
"""Of an octave convolution: (high, low), or kernels (HH, HL, LH, LL); None in the place of what has no channels."""
Outputs: TypeAlias = Callable[..., list[Tensor]]


class Framework:
    """An adapter, of whose operators many follow from few.

    A subclass has `NAME` and `VERSION`; `tensor`, `array` and `gradients`; `IMPORTS`, `TENSOR`, `ARRAY` and
    `gradient_lines`, which say the same as text; and the functions from `convolution` on, in npconv's layout. All operators
    follow from these; it overrides those that the framework has a function of its own for. What it cannot do at all is
    not among its `OPERATORS`.
    """

    NAME: str
    VERSION: str
    BFLOAT16 = False  # whether it takes and gives arrays of ml_dtypes
    OPERATORS: tuple[str, ...] = tuple(op for op in ops.__all__ if f"{op}_backward" in ops.__all__)
    IMPORTS: tuple[str, ...] = ()
    TENSOR = ARRAY = "{}"
    ARGUMENT = ""  # where it is not as TENSOR
    ERRORS: tuple[type[Exception], ...] = ()
    REFUSALS: tuple[str, ...] = ()  # what the messages of errors have that only say what it cannot do

    # --- what a framework has ------------------------------------------------------------------------------------

    convolution: Callable[..., Tensor]  # (x, w, b, stride, padding, dilation, groups): pairs, any form of padding
    average_pool: Callable[..., Tensor]  # (x, kernel, stride, padding, ceil_mode, count_include_pad)
    max_pool: Callable[..., Tensor]  # (x, kernel, stride, padding, ceil_mode)
    repeat: Callable[..., Tensor]  # (x, scale): each pixel so many times, in both axes
    concatenate: Callable[..., Tensor]  # (maps): along the channels
    global_avg_pool2d: Callable[..., Tensor]  # (x)
    normalise: Callable[..., Tensor]  # (x, gamma, beta, mean, var, eps): see also `moments`
    relu: Callable[..., Tensor]  # (x)
    relu6: Callable[..., Tensor]  # (x)
    one_hot: Callable[..., Tensor]  # (labels, classes, dtype)
    cross_entropy: Callable[..., Tensor]  # (logits, target): the mean over the batch
    gradients: Callable[..., Iterable[Tensor]]  # (f, tensors, dys): dys are of the list f(*tensors)
    gradient_lines: Callable[[str, str], list[str]]  # (y, dy): they make an iterator `gradients` of the list `tensors`

    # --- made of others ------------------------------------------------------------------------------------------

    def conv2d(self, x: Tensor, w: Tensor, b: Tensor | None = None, **options: Any) -> Tensor:
        return self.convolution(x, w, b, *window(**options))

    def depthwise_conv2d(self, x: Tensor, w: Tensor, b: Tensor | None = None, **options: Any) -> Tensor:
        return self.conv2d(x, w, b, **options, groups=x.shape[1])

    def pointwise_conv2d(self, x: Tensor, w: Tensor, b: Tensor | None = None, **options: Any) -> Tensor:
        return self.conv2d(x, w, b, **options)

    def separable_conv2d(
        self, x: Tensor, w_depthwise: Tensor, w_pointwise: Tensor, b: Tensor | None = None, **options: Any
    ) -> Tensor:
        return self.conv2d(self.depthwise_conv2d(x, w_depthwise, **options), w_pointwise, b)

    def ghost_conv2d(
        self, x: Tensor, w_primary: Tensor, w_cheap: Tensor | None = None, *, out_channels: Any = None, **options: Any
    ) -> Tensor:
        primary = self.conv2d(x, w_primary, **options)
        if w_cheap is None:
            return primary
        ghosts = self.depthwise_conv2d(primary, w_cheap, padding="same")
        return self.concatenate([primary, ghosts])[:, :out_channels]

    def octave_conv2d(
        self, x: Maps, w: Maps, b: Maps | None = None, *, stride: Any = 1, stride_mode: str = "pool", **options: Any
    ) -> Maps:
        """Equation 4 of the OctConv paper; with stride 2 in the mode "pool", the published code."""
        (high, low), (hh, hl, lh, ll) = x, w
        y_high = y_low = None
        pooled_first = stride_mode == "pool" and pair(stride) == (2, 2)
        stride = 1 if pooled_first else stride
        if hh is not None:
            y_high = self.conv2d(self.octave_pool(high, 2) if pooled_first else high, hh, stride=stride, **options)
        if lh is not None:
            part = self.conv2d(low, lh, stride=stride, **options)
            if not pooled_first:  # else the low map has the high output's size as it is
                part = self.upsample_nearest2d(part, 2, size=None if y_high is None else tuple(y_high.shape[2:]))
            y_high = part if y_high is None else y_high + part
        if ll is not None:
            y_low = self.conv2d(self.octave_pool(low, 2) if pooled_first else low, ll, stride=stride, **options)
        if hl is not None:
            part = self.conv2d(self.octave_pool(high, 4 if pooled_first else 2), hl, stride=stride, **options)
            y_low = part if y_low is None else y_low + part
        b_high, b_low = b or (None, None)
        return self.biased(y_high, b_high), self.biased(y_low, b_low)

    def octave_depthwise_conv2d(
        self, x: Maps, w: Maps, b: Maps | None = None, *, stride: Any = 1, stride_mode: str = "pool", **options: Any
    ) -> Maps:
        """Each frequency by itself: no path from one to the other."""
        high, low = x
        if stride_mode == "pool" and pair(stride) == (2, 2):
            high, low = (None if a is None else self.octave_pool(a, 2) for a in x)
            stride = 1
        y_high = None if high is None else self.depthwise_conv2d(high, w[0], stride=stride, **options)
        y_low = None if low is None else self.depthwise_conv2d(low, w[3], stride=stride, **options)
        b_high, b_low = b or (None, None)
        return self.biased(y_high, b_high), self.biased(y_low, b_low)

    def octave_pool(self, x: Tensor, factor: int) -> Tensor:
        """The mean of each block of pixels, at the border of what there is of it."""
        return self.avg_pool2d(x, factor, ceil_mode=True)

    def biased(self, y: Tensor | None, b: Tensor | None) -> Tensor | None:
        return y if y is None or b is None else y + b[:, None, None]

    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        return x.reshape(shape)

    def transpose(self, x: Tensor, axes: tuple[int, ...]) -> Tensor:
        return x.transpose(axes)

    def channel_shuffle(self, x: Tensor, groups: int) -> Tensor:
        batch, channels, height, width = x.shape
        grouped = self.reshape(x, (batch, groups, channels // groups, height, width))
        return self.reshape(self.transpose(grouped, (0, 2, 1, 3, 4)), (batch, channels, height, width))

    def channel_unshuffle(self, x: Tensor, groups: int) -> Tensor:
        return self.channel_shuffle(x, x.shape[1] // groups)

    def avg_pool2d(
        self,
        x: Tensor,
        kernel: Any,
        *,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = False,
    ) -> Tensor:
        strides = pair(kernel if stride is None else stride)
        return self.average_pool(x, pair(kernel), strides, padding, ceil_mode, count_include_pad)

    def max_pool2d(
        self, x: Tensor, kernel: Any, *, stride: Any = None, padding: Any = 0, ceil_mode: bool = False
    ) -> Tensor:
        return self.max_pool(x, pair(kernel), pair(kernel if stride is None else stride), padding, ceil_mode)

    def upsample_nearest2d(self, x: Tensor, scale: Any = 2, *, size: Any = None) -> Tensor:
        y = self.repeat(x, pair(scale))
        height, width = (None, None) if size is None else pair(size)
        return y[:, :, :height, :width]

    def batch_norm2d(
        self,
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        mean: Tensor | None = None,
        var: Tensor | None = None,
        *,
        eps: float = 1e-5,
    ) -> Tensor:
        if mean is None or var is None:
            mean, var = self.moments(x)
        return self.normalise(x, gamma, beta, mean, var, eps)

    def moments(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The mean and the variance of each channel; None where `normalise` takes them itself."""
        return None, None

    def hard_sigmoid(self, x: Tensor) -> Tensor:
        return self.relu6(x + 3) / 6

    def hard_swish(self, x: Tensor) -> Tensor:
        return x * self.relu6(x + 3) / 6

    def linear(self, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        y = x @ w.T
        return y if b is None else y + b

    def softmax_cross_entropy(self, logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        classes = logits.shape[1]
        hot = self.one_hot(labels, classes, logits.dtype)
        return self.cross_entropy(logits, hot * (1 - label_smoothing) + label_smoothing / classes)

    # --- the adapter ---------------------------------------------------------------------------------------------

    @property
    def DIRECTIONS(self) -> dict[str, tuple[str, ...]]:  # noqa: N802 (as of a module)
        return dict.fromkeys(self.OPERATORS, ("forward", "backward"))

    def version(self) -> str:
        return self.VERSION

    def forward(self, op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> Tree:
        self.refuse(op, options)
        with self.words():
            return each(self.array, self._call(op, map_arrays(self.argument, args), options))

    def backward(self, op: str, dy: Tree, args: tuple[Tree, ...], options: dict[str, Any]) -> tuple[Tree, ...]:
        self.refuse(op, options)

        def outputs(*tensors: Tensor) -> list[Tensor]:
            given = iter(tensors)
            y = self._call(op, map_arrays(lambda _: next(given), args), options)
            return [a for a in y if a is not None] if isinstance(y, tuple) else [y]

        tensors = [self.argument(array) for _, array in named_arrays(args)]
        dys = [self.tensor(array) for _, array in named_arrays(dy)]
        with self.words():
            found = iter(self.gradients(outputs, tensors, dys))
            result: tuple[Tree, ...] = map_arrays(lambda _: self.array(next(found)), args)
        return result

    def _call(self, op: str, tensors: tuple[Any, ...], options: dict[str, Any]) -> Any:
        return self.function(op)(*tensors, **{name: map_arrays(self.tensor, value) for name, value in options.items()})

    def function(self, op: str) -> Callable[..., Any]:
        """The operator on tensors."""
        return getattr(self, op)

    def refuse(self, op: str, options: dict[str, Any]) -> None:
        """Raise Unsupported where the framework has no such form of the operator, and would not say so itself."""

    @contextlib.contextmanager
    def words(self) -> Iterator[None]:
        """Makes Unsupported of the framework's own words for what it cannot do."""
        try:
            yield
        except self.ERRORS as error:
            if any(words in str(error) for words in self.REFUSALS):
                raise Unsupported(str(error)) from error
            raise

    def tensor(self, array: Array) -> Tensor:
        """The array as the framework has it."""
        return array

    def argument(self, array: Array) -> Tensor:
        """The same of what there are gradients for."""
        return self.tensor(array)

    def array(self, tensor: Tensor) -> Array:
        """The tensor as an array."""
        return np.asarray(tensor)

    # --- as text -------------------------------------------------------------------------------------------------

    def source(self, op: str, args: tuple[Tree, ...], options: dict[str, Any], direction: str) -> str:
        self.refuse(op, options)
        y = self.short(op, args, options)
        needed = [] if y is not None else ["", definitions(getattr(self, op)), ""]
        y = y or self.called(op, options)
        return "\n".join([*self.IMPORTS, *needed, *self.result_lines(op, options, y, direction)])

    def called(self, op: str, options: dict[str, Any]) -> str:
        """The call of the function of that name."""
        return call(op, arguments(op), options)

    def short(self, op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> str | None:
        """y as an expression, where the framework has a function for just that."""
        return None

    def result_lines(self, op: str, options: dict[str, Any], y: str, direction: str) -> list[str]:
        """The lines that make `got` by the expression `y`."""
        octave, names = op.startswith("octave"), listed(arguments(op))
        lines = [*_TREES] if octave else []
        lines += [f"{names} = {_each_text(octave, (self.ARGUMENT or self.TENSOR).format('a'), f'({names})')}"]
        lines += [
            f"{name} = {self.TENSOR.format(name)}" for name, value in options.items() if isinstance(value, np.ndarray)
        ]
        if direction == "forward":
            return [*lines, f"got = {_each_text(True, self.ARRAY.format('a'), y) if octave else self.ARRAY.format(y)}"]
        dy = self.TENSOR.format("dy")
        if octave:
            y, dy = f"flat({y})", f"[{self.TENSOR.format('a')} for a in flat(dy)]"
        tensors = f"flat(({names}))" if octave else f"[a for a in ({names}) if a is not None]"
        got = _each_text(octave, self.ARRAY.format("next(gradients)"), f"({names})")
        return [*lines, f"tensors = {tensors}", *self.gradient_lines(y, dy), f"got = {got}"]


_TREES = (
    "def each(f, a): return tuple(each(f, part) for part in a) if isinstance(a, tuple) else None if a is None else f(a)",
    "def flat(a): return [b for part in a for b in flat(part)] if isinstance(a, tuple) else [] if a is None else [a]",
)


def _each_text(nested: bool, expression: str, tree: str) -> str:
    """The tuple `tree` with `expression` in the place of each of its leaves a."""
    if nested:
        return f"each(lambda a: {expression}, {tree})"
    return f"tuple(None if a is None else {expression} for a in {tree})"


def each(function: Callable[[Any], Any], tree: Any) -> Any:
    """`tree` with `function` applied to each of its tensors."""
    if isinstance(tree, tuple):
        return tuple(each(function, part) for part in tree)
    return None if tree is None else function(tree)
