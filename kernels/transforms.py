"""The transforms of Winograd's F(4x4, 3x3), line by line: Y = A' [(G g G') . (B' d B)] A.

Each function takes `lines` lines of vectors, `line` apart, whose elements are `step` apart, and leaves as many lines.
Twice, over columns and then over rows, it transforms a square. The points of interpolation are 0, +-P, +-Q and
infinity: 5/8 and 3/2 are exact in binary and lose about a quarter of the digits that the usual 1 and 2 do. Points come
in pairs, so two results share their even and their odd half.

Source: A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", 2016.
"""

from .jit import kernel
from .simd import fma, load, splat, store

P, Q = 5 / 8, 3 / 2
PP, QQ = P * P, Q * Q
P_SHARE, Q_SHARE = 1 / (2 * PP * (PP - QQ)), 1 / (2 * QQ * (QQ - PP))  # 1 / product of the distances to other points


@kernel(inline=True)
def input_lines(source, start, step, line, lines, target, out, out_step, out_line):
    """Six values of the input to six: B' d."""
    p, q, pp, qq = splat(source, P), splat(source, Q), splat(source, -PP), splat(source, -QQ)
    product, total = splat(source, PP * QQ), splat(source, -PP - QQ)
    for i in range(lines):
        at, to = start + i * line, out + i * out_line
        d0, d1, d2 = load(source, at), load(source, at + step), load(source, at + 2 * step)
        d3, d4, d5 = load(source, at + 3 * step), load(source, at + 4 * step), load(source, at + 5 * step)
        store(fma(product, d0, fma(total, d2, d4)), target, to)
        even, odd = fma(qq, d2, d4), p * fma(qq, d1, d3)
        store(even + odd, target, to + out_step)
        store(even - odd, target, to + 2 * out_step)
        even, odd = fma(pp, d2, d4), q * fma(pp, d1, d3)
        store(even + odd, target, to + 3 * out_step)
        store(even - odd, target, to + 4 * out_step)
        store(fma(product, d1, fma(total, d3, d5)), target, to + 5 * out_step)


@kernel(inline=True)
def output_lines(source, start, step, line, lines, target, out, out_step, out_line):
    """Six products to four values of the output: A' m."""
    p, q, pp, qq = splat(source, P), splat(source, Q), splat(source, PP), splat(source, QQ)
    ppp, qqq = splat(source, PP * P), splat(source, QQ * Q)
    for i in range(lines):
        at, to = start + i * line, out + i * out_line
        m0, m1, m2 = load(source, at), load(source, at + step), load(source, at + 2 * step)
        m3, m4, m5 = load(source, at + 3 * step), load(source, at + 4 * step), load(source, at + 5 * step)
        p_sum, p_difference, q_sum, q_difference = m1 + m2, m1 - m2, m3 + m4, m3 - m4
        store(m0 + p_sum + q_sum, target, to)
        store(fma(p, p_difference, q * q_difference), target, to + out_step)
        store(fma(pp, p_sum, qq * q_sum), target, to + 2 * out_step)
        store(fma(ppp, p_difference, fma(qqq, q_difference, m5)), target, to + 3 * out_step)


@kernel(inline=True)
def gradient_lines(source, start, step, line, lines, target, out, out_step, out_line):
    """Four values of the output's gradient to six: A dy, the transpose of `output_lines`."""
    p, q, pp, qq = splat(source, P), splat(source, Q), splat(source, PP), splat(source, QQ)
    ppp, qqq = splat(source, PP * P), splat(source, QQ * Q)
    for i in range(lines):
        at, to = start + i * line, out + i * out_line
        y0, y1 = load(source, at), load(source, at + step)
        y2, y3 = load(source, at + 2 * step), load(source, at + 3 * step)
        store(y0, target, to)
        even, odd = fma(pp, y2, y0), fma(ppp, y3, p * y1)
        store(even + odd, target, to + out_step)
        store(even - odd, target, to + 2 * out_step)
        even, odd = fma(qq, y2, y0), fma(qqq, y3, q * y1)
        store(even + odd, target, to + 3 * out_step)
        store(even - odd, target, to + 4 * out_step)
        store(y3, target, to + 5 * out_step)


@kernel(inline=True)
def filter_lines(source, start, step, line, lines, target, out, out_step, out_line):
    """Three weights to six: G g."""
    zero, p_share, q_share = splat(source, 1 / (PP * QQ)), splat(source, P_SHARE), splat(source, Q_SHARE)
    p_odd, p_even = splat(source, P * P_SHARE), splat(source, PP * P_SHARE)
    q_odd, q_even = splat(source, Q * Q_SHARE), splat(source, QQ * Q_SHARE)
    for i in range(lines):
        at, to = start + i * line, out + i * out_line
        g0, g1, g2 = load(source, at), load(source, at + step), load(source, at + 2 * step)
        store(zero * g0, target, to)
        even, odd = fma(p_share, g0, p_even * g2), p_odd * g1
        store(even + odd, target, to + out_step)
        store(even - odd, target, to + 2 * out_step)
        even, odd = fma(q_share, g0, q_even * g2), q_odd * g1
        store(even + odd, target, to + 3 * out_step)
        store(even - odd, target, to + 4 * out_step)
        store(g2, target, to + 5 * out_step)


@kernel(inline=True)
def filter_gradient_lines(source, start, step, line, lines, target, out, out_step, out_line):
    """Six sums to the gradients of three weights: G' u, the transpose of `filter_lines`."""
    zero, p_share, q_share = splat(source, 1 / (PP * QQ)), splat(source, P_SHARE), splat(source, Q_SHARE)
    p_odd, p_even = splat(source, P * P_SHARE), splat(source, PP * P_SHARE)
    q_odd, q_even = splat(source, Q * Q_SHARE), splat(source, QQ * Q_SHARE)
    for i in range(lines):
        at, to = start + i * line, out + i * out_line
        u0, u1, u2 = load(source, at), load(source, at + step), load(source, at + 2 * step)
        u3, u4, u5 = load(source, at + 3 * step), load(source, at + 4 * step), load(source, at + 5 * step)
        p_sum, p_difference, q_sum, q_difference = u1 + u2, u1 - u2, u3 + u4, u3 - u4
        store(fma(zero, u0, fma(p_share, p_sum, q_share * q_sum)), target, to)
        store(fma(p_odd, p_difference, q_odd * q_difference), target, to + out_step)
        store(fma(p_even, p_sum, fma(q_even, q_sum, u5)), target, to + 2 * out_step)
