"""The exponential function and the logarithm of a vector, which LLVM would compute one lane at a time."""

import math

from llvmlite import ir
from numba.core import types

from .simd import broadcast, call_llvm, intrinsic, llvm_type

# By dtype: e^x is 0 below the first and infinite above the second, and the degree of the series is right to one ulp.
_LIMITS = {types.float32: (-104.0, 89.0, 7), types.float64: (-746.0, 710.0, 13)}
# ln 2 in two parts: a whole number times the first is exact.
_LN2 = {types.float32: (0.693359375, -2.12194440e-4), types.float64: (6.93145751953125e-1, 1.42860682030941723212e-6)}
_MANTISSA = {types.float32: (23, 127, 32), types.float64: (52, 1023, 64)}  # its bits, the exponent's bias, all bits


@intrinsic
def exp(typing, x):
    """e^x in every lane, within two units in the last place; a NaN stays.

    e^x = 2^n e^r with n whole and |r| <= ln 2 / 2, e^r by its series, 2^n by the bits of the exponent, in two factors
    since 2^n alone may be too large or too small for a number.
    """
    low, high, degree = _LIMITS[x.dtype]

    def codegen(context, builder, signature, args):
        kind = llvm_type(context, x)

        def number(value):
            return broadcast(context, builder, x, ir.Constant(kind.element, value))

        def fma(a, b, c):
            return call_llvm(context, builder, x, "fma", a, b, c)

        (v,) = args
        v = builder.select(builder.fcmp_ordered("<", v, number(low)), number(low), v)
        v = builder.select(builder.fcmp_ordered(">", v, number(high)), number(high), v)
        n = call_llvm(context, builder, x, "floor", fma(v, number(1 / math.log(2)), number(0.5)))
        n = builder.select(builder.fcmp_ordered("ord", n, n), n, number(0.0))
        r = v
        for part in _LN2[x.dtype]:
            r = fma(n, number(-part), r)
        series = number(1 / math.factorial(degree))
        for k in range(degree - 1, -1, -1):
            series = fma(series, r, number(1 / math.factorial(k)))
        half = call_llvm(context, builder, x, "floor", builder.fmul(n, number(0.5)))
        for exponent in (half, builder.fsub(n, half)):
            series = builder.fmul(series, _power_of_two(builder, kind, x, exponent))
        return series

    return x(x), codegen


def _power_of_two(builder, kind, vector, exponent):
    shift, bias, bits = _MANTISSA[vector.dtype]
    whole = ir.VectorType(ir.IntType(bits), vector.lanes)

    def constant(value):
        return ir.Constant(whole, [value] * vector.lanes)

    biased = builder.add(builder.fptosi(exponent, whole), constant(bias))
    return builder.bitcast(builder.shl(biased, constant(shift)), kind)


@intrinsic
def log(typing, x):
    """The logarithm in every lane, of finite numbers from 1 on, within two units in the last place; a NaN stays.

    x = 2^n m with m between the roots of 1/2 and 2; log m is 2 artanh s by its series, with s = (m - 1) / (m + 1).
    """
    mantissa, bias, bits = _MANTISSA[x.dtype]
    terms = {types.float32: 5, types.float64: 11}[x.dtype]

    def codegen(context, builder, signature, args):
        kind = llvm_type(context, x)
        whole = ir.VectorType(ir.IntType(bits), x.lanes)

        def number(value):
            return broadcast(context, builder, x, ir.Constant(kind.element, value))

        def constant(value):
            return ir.Constant(whole, [value] * x.lanes)

        def fma(a, b, c):
            return call_llvm(context, builder, x, "fma", a, b, c)

        (v,) = args
        pattern = builder.bitcast(v, whole)
        n = builder.sitofp(builder.sub(builder.lshr(pattern, constant(mantissa)), constant(bias)), kind)
        digits = builder.and_(pattern, constant((1 << mantissa) - 1))
        m = builder.bitcast(builder.or_(digits, constant(bias << mantissa)), kind)
        large = builder.fcmp_ordered(">", m, number(math.sqrt(2)))
        n = builder.select(large, builder.fadd(n, number(1.0)), n)
        m = builder.select(large, builder.fmul(m, number(0.5)), m)
        s = builder.fdiv(builder.fsub(m, number(1.0)), builder.fadd(m, number(1.0)))
        square = builder.fmul(s, s)
        series = number(2 / (2 * terms - 1))
        for k in range(terms - 2, 0, -1):
            series = fma(series, square, number(2 / (2 * k + 1)))
        # 2 s + s^3 series, and n ln 2 in two parts
        high, low = _LN2[x.dtype]
        tail = fma(builder.fmul(series, square), s, builder.fmul(n, number(low)))
        result = fma(n, number(high), builder.fadd(builder.fmul(number(2.0), s), tail))
        return builder.select(builder.fcmp_ordered("ord", v, v), result, v)

    return x(x), codegen
