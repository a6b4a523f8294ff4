"""The papers' ratios and laws: what an efficient convolution costs beside the standard one that it replaces."""

from __future__ import annotations

from npconv.geometry import IntOrPair, check_shuffle_groups, fraction, integer, pair, positive


def separable_ratio(out_channels: int, kernel: IntOrPair) -> float:
    """Separable over standard convolution, in multiply-accumulates: ``1/N + 1/Dk**2``, N being `out_channels`.

    Stride 1 or not: both have the same outputs. MobileNets (arXiv 1704.04861), section 3.1.

    Parameters
    ----------
    out_channels : int
    kernel : int or (rows, columns)

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        No integers of at least 1.

    Examples
    --------
    >>> separable_ratio(512, 3)  # 8 to 9 times less
    0.1130642361111111
    """
    kernel_height, kernel_width = pair("kernel", kernel, minimum=1)
    return 1 / integer("out_channels", out_channels, minimum=1) + 1 / (kernel_height * kernel_width)


def separable_macs(
    in_channels: int, out_channels: int, kernel: int, size: int, *, alpha: float = 1.0, rho: float = 1.0
) -> float:
    """A separable layer under both multipliers: ``Dk**2 * aM * (rDf)**2 + aM * aN * (rDf)**2``.

    The formula rounds nothing, so the cost is a real number. MobileNets (arXiv 1704.04861), sections 3.3 and 3.4.

    Parameters
    ----------
    in_channels, out_channels, kernel, size : int
        M, N, Dk and Df: the channels of the layer, the side of its kernel and of its map.
    alpha : float above 0
        The width, which scales the channels: the cost falls with about its square, exactly so in the pointwise part.
    rho : float above 0
        The resolution, which scales the size of the map: the cost falls with exactly its square.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        No integers of at least 1, a multiplier that is not above 0.

    Examples
    --------
    >>> separable_macs(512, 512, 3, 14, alpha=0.75)  # table 3: 29.6 million
    29578752.0
    """
    m = integer("in_channels", in_channels, minimum=1) * positive("alpha", alpha)
    n = integer("out_channels", out_channels, minimum=1) * positive("alpha", alpha)
    pixels = (integer("size", size, minimum=1) * positive("rho", rho)) ** 2
    return (integer("kernel", kernel, minimum=1) ** 2 * m + m * n) * pixels


def ghost_speedup(in_channels: int, kernel: int, *, ratio: int = 2, cheap_kernel: int = 3) -> float:
    """r_s, standard over ghost convolution in multiply-accumulates: ``c*k*k / (c*k*k/s + (s-1)*d*d/s)``.

    It is exact where s divides the output channels. GhostNet (arXiv 1911.11907), section 3.1.

    Parameters
    ----------
    in_channels, kernel, ratio, cheap_kernel : int
        c, k, s and d in the formula.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        No integers of at least 1.

    Examples
    --------
    >>> ghost_speedup(64, 3, ratio=2, cheap_kernel=7)
    1.8432
    """
    standard = integer("in_channels", in_channels, minimum=1) * integer("kernel", kernel, minimum=1) ** 2
    s = integer("ratio", ratio, minimum=1)
    return s * standard / (standard + (s - 1) * integer("cheap_kernel", cheap_kernel, minimum=1) ** 2)


def ghost_compression(in_channels: int, kernel: int, *, ratio: int = 2, cheap_kernel: int = 3) -> float:
    """r_c, standard over ghost convolution in parameters: it equals `ghost_speedup`, since the map's size cancels there.

    Parameters
    ----------
    in_channels, kernel, ratio, cheap_kernel : int
        As in `ghost_speedup`.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        No integers of at least 1.

    Notes
    -----
    GhostNet (arXiv 1911.11907), section 3.1.

    Examples
    --------
    >>> ghost_compression(64, 3, ratio=2, cheap_kernel=7)
    1.8432
    """
    return ghost_speedup(in_channels, kernel, ratio=ratio, cheap_kernel=cheap_kernel)


def ghost_speedup_approximation(in_channels: int, *, ratio: int = 2) -> float:
    """The paper's approximation of r_s and r_c, ``s*c / (s + c - 1)``: exact for d = k, and about s where s is far below c.

    Parameters
    ----------
    in_channels, ratio : int
        c and s in the formula.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        No integers of at least 1.

    Notes
    -----
    GhostNet (arXiv 1911.11907), section 3.1.

    Examples
    --------
    >>> ghost_speedup_approximation(64, ratio=2)
    1.9692307692307693
    """
    c, s = integer("in_channels", in_channels, minimum=1), integer("ratio", ratio, minimum=1)
    return s * c / (s + c - 1)


def octave_cost_ratio(alpha_in: float, alpha_out: float) -> float:
    """Octave over standard convolution, in multiply-accumulates: ``1 - 3/4 * (a + b - a*b)`` for a = alpha_in, b = alpha_out.

    That is (1-a)(1-b) from high to high, and a(1-b), (1-a)b, ab at a quarter of the pixels. Exact for stride 1, even
    sizes and whole channels. Drop an Octave (arXiv 1904.05049), table 1.

    Parameters
    ----------
    alpha_in, alpha_out : float in [0, 1]
        The share of the low frequency in the input and in the output.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        No number, or one outside of [0, 1].

    Examples
    --------
    >>> octave_cost_ratio(0.5, 0.5)
    0.4375
    """
    a, b = fraction("alpha_in", alpha_in), fraction("alpha_out", alpha_out)
    return 1 - 0.75 * (a + b - a * b)


def octave_memory_ratio(alpha: float) -> float:
    """Octave over plain feature map, in numbers stored: ``1 - 3/4 * alpha``.

    It is also the cost ratio of a depthwise octave convolution, and of one with stride 2 in stride_mode "pool".
    Drop an Octave (arXiv 1904.05049), table 1.

    Parameters
    ----------
    alpha : float in [0, 1]
        The share of the low frequency.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        No number, or one outside of [0, 1].

    Examples
    --------
    >>> octave_memory_ratio(0.5)
    0.625
    """
    return 1 - 0.75 * fraction("alpha", alpha)


def resnet_unit_macs(channels: int, bottleneck: int, height: int, width: int) -> int:
    """A ResNet bottleneck unit: ``hw(2cm + 9m**2)`` for c channels, m in the bottleneck. ShuffleNet (arXiv 1707.01083), section 3.2.

    Parameters
    ----------
    channels, bottleneck, height, width : int
        c, m, h and w in the formula.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        No integers of at least 1.

    Examples
    --------
    >>> resnet_unit_macs(240, 60, 28, 28)
    47980800
    """
    return resnext_unit_macs(channels, bottleneck, height, width, groups=1)


def resnext_unit_macs(channels: int, bottleneck: int, height: int, width: int, *, groups: int) -> int:
    """A ResNeXt unit, its 3x3 in `groups`: ``hw(2cm + 9m**2/g)``. ShuffleNet (arXiv 1707.01083), section 3.2.

    Parameters
    ----------
    channels, bottleneck, height, width : int
        c, m, h and w in the formula.
    groups : int
        g in the formula; divides the bottleneck.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        No integers of at least 1, or groups that do not divide.

    Examples
    --------
    >>> resnext_unit_macs(256, 128, 1, 1, groups=32)  # the 1x1 are 65536 of it, 93.4 %
    70144
    """
    c, m, pixels = _unit(channels, bottleneck, height, width)
    return pixels * (2 * c * m + 9 * m * (m // check_shuffle_groups(m, groups)))


def shufflenet_unit_macs(channels: int, bottleneck: int, height: int, width: int, *, groups: int) -> int:
    """A ShuffleNet unit, its 1x1 in `groups`: ``hw(2cm/g + 9m)``. ShuffleNet (arXiv 1707.01083), section 3.2.

    Parameters
    ----------
    channels, bottleneck, height, width : int
        c, m, h and w in the formula.
    groups : int
        g in the formula; divides both numbers of channels.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        No integers of at least 1, or groups that do not divide.

    Examples
    --------
    >>> shufflenet_unit_macs(240, 60, 28, 28, groups=3)
    7949760
    """
    c, m, pixels = _unit(channels, bottleneck, height, width)
    check_shuffle_groups(m, groups)
    return pixels * (2 * (c // check_shuffle_groups(c, groups)) * m + 9 * m)


def _unit(channels: int, bottleneck: int, height: int, width: int) -> tuple[int, int, int]:
    """(c, m, h * w) of a residual unit, checked."""
    pixels = integer("height", height, minimum=1) * integer("width", width, minimum=1)
    return integer("channels", channels, minimum=1), integer("bottleneck", bottleneck, minimum=1), pixels
