"""Models as ONNX files, which ONNX Runtime and other tools run without npconv.

Each layer becomes the operators that it is made of; the arrays keep their dotted names. Operator set 15 is the oldest that
has all of them in today's form, so that old runtimes read the files too.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from npconv import __version__, files, nn
from npconv.backends import backend
from npconv.geometry import shape
from npconv.onnx.graph import Graph, Map, Place
from npconv.onnx.layers import emit

if TYPE_CHECKING:
    from onnx import ModelProto

OPERATOR_SET = 15
IR_VERSION = 8  # of the file format: the first that comes with this operator set


def export(model: nn.Layer, path: str | PathLike[str], image_shape: Sequence[int]) -> None:
    """Write `model`, in evaluation mode, as an ONNX model to a file; an existing one is replaced.

    Parameters
    ----------
    model, image_shape
        As in `convert`.
    path : path

    Raises
    ------
    ImportError, TypeError, ValueError
        As by `convert`.
    OSError
        The file cannot be written; what was there before is as it was.
    """
    files.write(path, convert(model, image_shape).SerializeToString())


def convert(model: nn.Layer, image_shape: Sequence[int]) -> ModelProto:
    """`model`, in evaluation mode, as an ONNX model with the input ``x`` (N, C, H, W), for any N, and the output ``y``.

    Parameters
    ----------
    model : layer
        Left as it is. Batch norms stay; fold them before, by `npconv.nn.fold_batch_norm`, for the faster network.
    image_shape : (C, H, W)
        Of the images. Padding and octave maps are worked out for it, so another size needs another file.

    Returns
    -------
    onnx.ModelProto
        Of operator set 15, its dtype the model's, known to the ONNX checker to be whole and of matching shapes. The
        parameters and running statistics are initializers under their dotted names.

    Raises
    ------
    ImportError
        onnx is not installed.
    TypeError
        `model` is no layer, or has a layer that is not known here; the message names it.
    ValueError
        The model does not take such images, or takes or gives more than one map.

    Notes
    -----
    Hard sigmoid and hard swish are written out, as ``clip(x + 3, 0, 6) / 6``: the factor 1/6 of ONNX's own is a float32.
    Batch norm's eps is one too, which moves float64 results by some 1e-13.
    """
    try:
        import onnx
    except ImportError:
        raise ImportError(
            "export needs the package onnx, which is not installed: pip install 'npconv[check]'"
        ) from None
    if not isinstance(model, nn.Layer):
        raise TypeError(f"model must be a Layer, got {type(model).__name__}")
    image = shape("image_shape", image_shape, "CHW")
    dtype = next((array.dtype for _, array in model.named_params()), np.dtype(np.float32))
    with backend("numpy"):  # no image at all: says, in the layers' own words, where the shapes do not fit
        y = copy.deepcopy(model).eval().forward(np.zeros((0, *image), dtype))
    if not isinstance(y, np.ndarray):
        raise ValueError(f"model must give one array, got {type(y).__name__}")

    graph = Graph()
    result = emit(model, Map("x", image), Place(graph, "", dtype))
    graph.nodes.append(onnx.helper.make_node("Identity", [result.name], ["y"], name="y"))
    element = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "npconv",
            [onnx.helper.make_tensor_value_info("x", element, ["N", *image])],
            [onnx.helper.make_tensor_value_info("y", element, ["N", *y.shape[1:]])],
            [onnx.numpy_helper.from_array(array, name) for name, array in graph.arrays.items()],
        ),
        producer_name="npconv",
        producer_version=__version__,
        opset_imports=[onnx.helper.make_opsetid("", OPERATOR_SET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto
