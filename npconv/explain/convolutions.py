"""Standard, depthwise and pointwise convolution, and the fully connected layer."""

from __future__ import annotations

import numpy as np

from npconv.explain.explanation import Explanation, formulas, grid

ONE = {"stride": 1, "dilation": 1, "pad": 0}

EXPLANATIONS = (
    Explanation(
        op="conv2d",
        idea="Each output is a sum of products: the pixels under the kernel, in all input channels, times its weights.",
        formulas=formulas(
            "y[n,o,p,q] = sum over c, r, s of x[n, c, p*stride + r*dilation - pad, q*stride + s*dilation - pad] * w[o,c,r,s]",
            "dx[n,c,h,v] = sum over o, p, q, r, s with p*stride + r*dilation - pad = h and q*stride + s*dilation - pad = v"
            " of dy[n,o,p,q] * w[o,c,r,s]",
            "dw[o,c,r,s] = sum over n, p, q of dy[n,o,p,q] * x[n, c, p*stride + r*dilation - pad, q*stride + s*dilation - pad]",
        ),
        derivation=(
            "The loss L depends on x through y alone: dx is the sum over all outputs of dy times the slope of that output by x.",
            "y is a sum of products x * w, so the slope by one x is the w that it was multiplied by, and 0 if it was not.",
            "Pixel (h, v) met w[o,c,r,s] in output (p, q) exactly where p*stride + r*dilation - pad = h, and likewise q, s, v.",
            "So dx adds dy * w over these; at stride 1 that is a full correlation of dy with the kernel rotated by 180 degrees.",
            "The slope by one w is every x that it was multiplied by, so dw adds dy * x over all images and all outputs.",
        ),
        arguments={"x": grid([1, 2, 3], [4, 5, 6], [7, 8, 9]), "w": grid([1, 2], [3, 4])},
        options={},
        dy=grid([1, 0], [0, 2]),
        letters=ONE,
        cost="MACs = N * O * P * Q * C * R * S",
        source="as in every framework, a cross-correlation; Dumoulin and Visin, arXiv 1603.07285",
    ),
    Explanation(
        op="depthwise_conv2d",
        idea="Every channel is filtered by a kernel of its own: the sum over the input channels is left out.",
        formulas=formulas(
            "y[n,k,p,q] = sum over r, s of x[n, k//m, p*stride + r*dilation - pad, q*stride + s*dilation - pad] * w[k,0,r,s]",
            "dx[n,c,h,v] = sum over k, p, q, r, s with k//m = c and p*stride + r*dilation - pad = h"
            " and q*stride + s*dilation - pad = v of dy[n,k,p,q] * w[k,0,r,s]",
            "dw[k,0,r,s] = sum over n, p, q of dy[n,k,p,q] * x[n, k//m, p*stride + r*dilation - pad, q*stride + s*dilation - pad]",
        ),
        derivation=(
            "It is the standard convolution with w = 0 wherever input and output channel do not belong together,",
            "so its gradients are those of the standard convolution with the same terms left out.",
            "m is the channel multiplier: input channel c makes the output channels c*m to c*m + m - 1.",
            "dx of channel c therefore reads dy of its own m channels, and no other.",
            "Nothing is learned about how channels mix: that is what the pointwise convolution after it is for.",
        ),
        arguments={
            "x": grid([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 0, 1], [0, 1, 0], [1, 0, 1]], shape=(1, 2, 3, 3)),
            "w": grid([[1, 2], [3, 4]], [[1, 1], [1, 1]], shape=(2, 1, 2, 2)),
        },
        options={},
        dy=grid([[1, 0], [0, 2]], [[0, 1], [0, 0]], shape=(1, 2, 2, 2)),
        letters={**ONE, "m": 1},
        cost="MACs = N * O * P * Q * R * S",
        source="MobileNets (arXiv 1704.04861), section 3.1, equation 3",
    ),
    Explanation(
        op="pointwise_conv2d",
        idea="At every pixel a matrix times the vector of its channels: the sum over kernel rows and columns is left out.",
        formulas=formulas(
            "y[n,o,p,q] = sum over c of x[n, c, p*stride, q*stride] * w[o,c,0,0]",
            "dx[n,c,h,v] = sum over o, p, q with p*stride = h and q*stride = v of dy[n,o,p,q] * w[o,c,0,0]",
            "dw[o,c,0,0] = sum over n, p, q of dy[n,o,p,q] * x[n, c, p*stride, q*stride]",
        ),
        derivation=(
            "At one pixel it is y = W x, a matrix product, whose gradients are dx = W^T dy and dW = dy x^T.",
            "dx therefore multiplies by the same numbers with rows and columns of the matrix exchanged.",
            "Every pixel uses the same matrix, so dw adds dy x^T over all pixels of all images.",
            "With a stride, pixels between are read by no output: their gradient is 0.",
            "No pixel meets its neighbour, so what is near to what is not looked at: that is the depthwise part's task.",
        ),
        arguments={
            "x": grid([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 0, 1], [0, 1, 0], [1, 0, 1]], shape=(1, 2, 3, 3)),
            "w": grid([1, 10], [2, -1], shape=(2, 2, 1, 1)),
        },
        options={"stride": 2},
        dy=grid([[1, 0], [0, 2]], [[0, 1], [0, 0]], shape=(1, 2, 2, 2)),
        letters={"stride": 2},
        cost="MACs = N * O * P * Q * C",
        source="MobileNets (arXiv 1704.04861), section 3.1",
    ),
    Explanation(
        op="linear",
        idea="Each output is a weighted sum of all inputs, plus a bias.",
        formulas=formulas(
            "y[n,o] = (sum over c of x[n,c] * w[o,c]) + b[o]",
            "dx[n,c] = sum over o of dy[n,o] * w[o,c]",
            "dw[o,c] = sum over n of dy[n,o] * x[n,c]",
            "db[o] = sum over n of dy[n,o]",
        ),
        derivation=(
            "y = x w^T + b, with one row for each image.",
            "The slope of y[n,o] by x[n,c] is w[o,c]: dx = dy w.",
            "The slope of y[n,o] by w[o,c] is x[n,c], in every row n: dw = dy^T x.",
            "b[o] was added once to every row: db is the sum of dy over the rows.",
            "It is a pointwise convolution of images of one pixel.",
        ),
        arguments={
            "x": np.array([[1.0, 2.0, 3.0]]),
            "w": np.array([[1.0, 0.0, 1.0], [2.0, 1.0, 0.0]]),
            "b": np.array([10.0, 20.0]),
        },
        options={},
        dy=np.array([[1.0, 2.0]]),
        letters={},
        cost="MACs = N * O * C",
        source="a matrix product",
    ),
)
