"""
Convolution and its two gradients
=================================

x
"""

# %%
# A formula
from npconv.explain import Formula

Formula(
    "y[n,o,p,q] = sum over c, r, s of x[n, c, p*stride + r*dilation - pad, q*stride + s*dilation - pad] * w[o,c,r,s]"
)
