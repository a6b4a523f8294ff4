"""The fingerprint of frameworks whose arithmetic their documentation tells."""

from __future__ import annotations

import numpy as np
import pytest
from required import framework

from npconv.check.arithmetic import fingerprint


def torch_conv2d(dtype=None):
    torch = framework("torch")

    def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
        arrays = [None if array is None else torch.from_numpy(array).to(dtype) for array in (x, w, b)]
        y = torch.nn.functional.conv2d(*arrays, stride, padding, dilation, groups)
        return y.to(torch.from_numpy(x).dtype).numpy()

    return conv2d


@pytest.mark.parametrize(
    ("given", "computed", "name"),
    [
        ("float32", None, "float32, direct sums"),
        ("float64", None, "float64, direct sums"),
        ("float16", None, "float16 products, float32 sums"),
        ("float32", "float16", "float16 products, float32 sums, float16 results"),
        ("float32", "bfloat16", "bfloat16 products, float32 sums, bfloat16 results"),
        ("float32", "float64", "float32 products, float64 sums"),
    ],
)
@pytest.mark.parametrize("channels", [3, 64])
def test_torch(channels, given, computed, name):
    torch = framework("torch")
    forward = torch_conv2d(computed and getattr(torch, computed))
    found = fingerprint(forward, dtype=given, channels=channels, out_channels=channels, size=14)
    assert found.name == name, str(found)
    assert found.nan_exact.value, str(found)
    assert found.repeatable.value, str(found)


def test_torch_tells_what_it_was_allowed():
    """PyTorch may multiply float32 numbers as bfloat16 if told so, where the processor has instructions for it."""
    torch = framework("torch")
    settings = torch.backends.mkldnn.conv
    before = settings.fp32_precision
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(shape, generator=generator) for shape in ((1, 64, 16, 16), (64, 64, 3, 3)))
    expected = torch.nn.functional.conv2d(x, w)
    settings.fp32_precision = "bf16"
    try:
        found = fingerprint(torch_conv2d(), channels=64, out_channels=64)
        # Some processors that have the instructions are not given them: then the permission changes no bit.
        has_bfloat16 = not torch.equal(torch.nn.functional.conv2d(x, w), expected)
    finally:
        settings.fp32_precision = before
    assert found.name == ("bfloat16 products, float32 sums" if has_bfloat16 else "float32, direct sums"), str(found)


def test_torch_depthwise_and_pointwise():
    def depthwise(x, w, b=None, *, stride=1, padding=0, dilation=1):
        return torch_conv2d()(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=x.shape[1])

    assert fingerprint(depthwise, op="depthwise_conv2d").name == "float32, direct sums"
    assert fingerprint(torch_conv2d(), op="pointwise_conv2d").name == "float32, direct sums"


def test_torch_on_one_and_two_threads():
    """The same on any number of threads: each output is summed by one of them."""
    torch = framework("torch")

    def on_threads(count):
        def conv2d(x, w, **options):
            before = torch.get_num_threads()
            torch.set_num_threads(count)
            try:
                return torch_conv2d()(x, w, **options)
            finally:
                torch.set_num_threads(before)

        return conv2d

    found = fingerprint(on_threads(1), by_threads={count: on_threads(count) for count in (1, 2)})
    assert found.name == "float32, direct sums"
    assert found.same_on_threads.value is not None


@pytest.mark.parametrize(("dtype", "name"), [("float32", "float32, direct sums"), ("float64", "float64, direct sums")])
def test_scipy(dtype, name):
    """A sum of correlations, as users of SciPy write it, and the FFT that they may choose."""
    correlate = framework("scipy.signal").correlate

    def by(method):
        def conv2d(x, w, b=None, *, padding=0):
            x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
            return np.stack([[correlate(image, kernel, "valid", method)[0] for kernel in w] for image in x])

        return conv2d

    shape = {"channels": 2, "out_channels": 9, "size": 10}
    assert fingerprint(by("direct"), dtype=dtype, **shape).name == name
    assert fingerprint(by("fft"), dtype=dtype, **shape).name == f"{dtype}, FFT"


@pytest.mark.parametrize("precision", [None, "highest"])
def test_jax(precision):
    jax = framework("jax")

    @jax.jit
    def compiled(x, w):
        return jax.lax.conv_general_dilated(x, w, (1, 1), [(1, 1), (1, 1)], precision=precision)

    found = fingerprint(lambda x, w, padding: np.asarray(compiled(x, w)), channels=16)
    assert found.name == "float32, direct sums", str(found)


def test_onnxruntime():
    onnxruntime, onnx = framework("onnxruntime"), framework("onnx")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    values = [helper.make_tensor_value_info(name, float32, [None] * 4) for name in "xwy"]
    model = helper.make_model(
        helper.make_graph([node], "conv", values[:2], values[2:]), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = fingerprint(lambda x, w, padding: session.run(None, {"x": x, "w": w})[0], channels=16)
    assert found.name == "float32, direct sums", str(found)
