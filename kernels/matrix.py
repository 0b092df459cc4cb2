"""Products of small matrices inside a kernel: the arithmetic of every convolution.

Each loop runs over rows cut out beforehand: an index that is a bare loop counter is known not to be negative, and only
then are the loads vectorised. All loops run along columns of the result: no sum is reassociated.
"""

from .jit import kernel


@kernel
def add_product(c, c_row, c_col, a, a_row, a_col, b, b_row, b_col, rows, inner, cols):
    """c[i, j] += sum over r of a[i, r] b[r, j] for i < rows, r < inner, j < cols, each from its corner (row, col).

    Two rows by four terms at a time, so that each value of b that is loaded serves two multiply-adds.
    """
    c_end, a_end = c_col + cols, a_col + inner
    i = 0
    while i + 2 <= rows:
        c0, c1 = c[c_row + i, c_col:c_end], c[c_row + i + 1, c_col:c_end]
        a0, a1 = a[a_row + i, a_col:a_end], a[a_row + i + 1, a_col:a_end]
        _add_two_rows(c0, c1, a0, a1, b, b_row, b_col, inner, cols)
        i += 2
    if i < rows:
        _add_row(c[c_row + i, c_col:c_end], a[a_row + i, a_col:a_end], b, b_row, b_col, inner, cols)


@kernel
def _add_two_rows(c0, c1, a0, a1, b, b_row, b_col, inner, cols):
    end = b_col + cols
    r = 0
    while r + 4 <= inner:
        p0, p1, p2, p3 = a0[r], a0[r + 1], a0[r + 2], a0[r + 3]
        q0, q1, q2, q3 = a1[r], a1[r + 1], a1[r + 2], a1[r + 3]
        row = b_row + r
        b0, b1, b2, b3 = b[row, b_col:end], b[row + 1, b_col:end], b[row + 2, b_col:end], b[row + 3, b_col:end]
        for j in range(cols):
            c0[j] += p0 * b0[j] + p1 * b1[j] + p2 * b2[j] + p3 * b3[j]
            c1[j] += q0 * b0[j] + q1 * b1[j] + q2 * b2[j] + q3 * b3[j]
        r += 4
    while r < inner:
        p, q, br = a0[r], a1[r], b[b_row + r, b_col:end]
        for j in range(cols):
            c0[j] += p * br[j]
            c1[j] += q * br[j]
        r += 1


@kernel
def _add_row(c, a, b, b_row, b_col, inner, cols):
    for r in range(inner):
        p, br = a[r], b[b_row + r, b_col : b_col + cols]
        for j in range(cols):
            c[j] += p * br[j]
