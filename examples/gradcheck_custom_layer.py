"""A layer of your own from two Numba kernels, and the gradient check that tells a right backward pass from a wrong one.

    python examples/gradcheck_custom_layer.py

The layer is the one-dimensional cross-correlation: a filter w slides over a signal x without being flipped,

    y[n, i] = sum over u of w[u] x[n, i + u].

With dy, the gradient of some loss by y, the chain rule gives the other two. w[u] meets x[n, j] in y[n, j - u]:

    dx[n, j] = sum over u of w[u] dy[n, j - u],     dw[u] = sum over n and i of dy[n, i] x[n, i + u].

In dx the indices of w and dy run in opposite directions: the gradient of a cross-correlation is a true convolution.
Forgetting that is the classic mistake. Here it is made on purpose, and caught.
"""

import sys

import numpy as np
from numba import njit

import minigrad as mg
from minigrad import nn


@njit
def slide_forward(x, w):
    y = np.zeros((x.shape[0], x.shape[1] - w.size + 1), x.dtype)
    for n in range(y.shape[0]):
        for i in range(y.shape[1]):
            for u in range(w.size):
                y[n, i] += w[u] * x[n, i + u]
    return y


@njit
def slide_backward(dy, x, w):
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for n in range(dy.shape[0]):
        for i in range(dy.shape[1]):
            for u in range(w.size):
                dx[n, i + u] += w[u] * dy[n, i]
                dw[u] += x[n, i + u] * dy[n, i]
    return dx, dw


@njit
def flipped_backward(dy, x, w):
    dx, dw = slide_backward(dy, x, w[::-1])  # the mistake: dx with the filter the wrong way round
    return dx, dw


slide = mg.op.pair(slide_forward, slide_backward)
wrong_slide = mg.op.pair(slide_forward, flipped_backward, name="wrong_slide")


class Slide(nn.Module):
    """Cross-correlation with one learnt filter. Shapes: (N, L) -> (N, L - size + 1)."""

    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(np.random.default_rng(0).normal(size=size).astype(np.float32))

    def forward(self, x):
        return slide(x, self.weight)


# The layer learns: this filter finds edges, and is found again from examples of what it does.
rng = np.random.default_rng(1)
signals = rng.normal(size=(32, 20)).astype(np.float32)
wanted = slide(signals, np.array([1, -2, 1], np.float32))  # called with arrays, an op returns an array
layer = Slide(3)
optimizer = mg.optim.Adam(layer.parameters(), lr=0.1)
for _ in range(200):
    loss = ((layer(signals) - wanted) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"learnt filter: {layer.weight.detach().numpy().round(3)}")

# A check compares every derivative of every output with differences (f(x + h) - f(x - h)) / 2h; those need float64.
x = mg.tensor(rng.normal(size=(2, 6)), requires_grad=True)
w = mg.tensor(rng.normal(size=3), requires_grad=True)
mg.gradcheck(slide, (x, w))
mg.gradcheck(Slide(3).double(), x)
print("the right backward pass: gradcheck passes")

try:
    mg.gradcheck(wrong_slide, (x, w))
except mg.GradcheckError as error:
    print(f"the flipped filter: gradcheck says\n{error}")
else:
    sys.exit("the flipped filter was not noticed")
