"""Products of stacks of matrices.

Rows go in pairs, which are numbered from the first row of all: how they are cut into parts does not change how any of
them is summed, and so not its bits.
"""

from .jit import kernel
from .matrix import add_product
from .threads import Launcher

BLOCK = 256  # columns and terms at a time: a block of b stays in a core's cache while the rows pass


@kernel
def matmul_range(start, stop, part, a, b, a_index, b_index, c):
    _, rows, inner = a.shape
    cols = b.shape[2]
    pairs = (rows + 1) // 2
    for item in range(start, stop):
        matrix, first = item // pairs, item % pairs * 2
        c[matrix, first : first + 2] = 0
    for top in range(0, inner, BLOCK):
        for left in range(0, cols, BLOCK):
            for item in range(start, stop):
                matrix, first = item // pairs, item % pairs * 2
                add_product(
                    c[matrix], first, left,
                    a[a_index[matrix]], first, top,
                    b[b_index[matrix]], top, left,
                    min(2, rows - first), min(BLOCK, inner - top), min(BLOCK, cols - left),
                )  # fmt: skip


matmul_forward = Launcher(matmul_range)
"""c[i] = a[a_index[i]] b[b_index[i]] for a (A, M, R), b (B, R, N), c (C, M, N); items are C ceil(M / 2) row pairs."""
