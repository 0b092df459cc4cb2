"""A vector as a Numba type: as many values as one register holds.

LLVM's instructions are written here, in tile, edges, exponential, addresses and parallel, and nowhere else.

Arrays are flat; an index is a number of values from an array's first. All of it is raw memory access: no index is
checked, also in the checked run.
"""

import operator
import os
from typing import Any

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import lower_builtin, models, register_model, type_callable

nb: Any = numba  # it is typed in part only
intrinsic: Any = nb.extending.intrinsic
I32, I64 = ir.IntType(32), ir.IntType(64)
UNDEFINED = ir.Undefined


def host_has(feature):
    """Whether Numba compiles for a CPU with that feature (its settings can ask for less than the host has)."""
    features = nb.core.config.CPU_FEATURES
    if features is None:
        return bool(llvm.get_host_cpu_features().get(feature, False))
    return f"+{feature}" in features.split(",")


# MINIGRAD_VECTOR_BYTES lets a narrower machine test the tiles of a wider one: LLVM cuts their vectors into pieces.
_WIDEST = 64 if host_has("avx512f") else 32 if host_has("avx") else 16
VECTOR_BYTES = int(os.environ.get("MINIGRAD_VECTOR_BYTES", _WIDEST))


class Vector(types.Type):
    """VECTOR_BYTES of values of one dtype."""

    def __init__(self, dtype):
        self.dtype, self.lanes = dtype, VECTOR_BYTES // (dtype.bitwidth // 8)
        super().__init__(name=f"{dtype}x{self.lanes}")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, ir.VectorType(manager.lookup(kind.dtype).get_value_type(), kind.lanes))


def vector_of(array):
    return Vector(array.dtype)


def llvm_type(context, kind):
    return context.get_value_type(kind)


def data_of(context, builder, kind, array):
    return context.make_array(kind)(context, builder, array).data


def place(builder, data, *indices):
    """The address data + indices, the first ones added first: what does not change in a loop leaves it."""
    for index in indices:
        data = builder.gep(data, [index])
    return data


def load_at(context, builder, vector, address):
    pointer = builder.bitcast(address, llvm_type(context, vector).as_pointer())
    return builder.load(pointer, align=vector.dtype.bitwidth // 8)


def store_at(context, builder, vector, value, address):
    pointer = builder.bitcast(address, llvm_type(context, vector).as_pointer())
    builder.store(value, pointer, align=vector.dtype.bitwidth // 8)


def broadcast(context, builder, vector, scalar):
    undefined = ir.Constant(llvm_type(context, vector), UNDEFINED)
    first = builder.insert_element(undefined, scalar, I32(0))
    return builder.shuffle_vector(first, undefined, lane_mask([0] * vector.lanes))


def lane_mask(lanes):
    return ir.Constant(ir.VectorType(I32, len(lanes)), lanes)


def call_llvm(context, builder, vector, name, *values):
    """An LLVM intrinsic on vectors, such as llvm.fma, or on single numbers."""
    kind = llvm_type(context, vector)
    suffix = f"v{vector.lanes}f{vector.dtype.bitwidth}" if isinstance(vector, Vector) else f"f{vector.bitwidth}"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * len(values)), f"llvm.{name}.{suffix}"
    )
    return builder.call(function, values)


def items_of(builder, values, count):
    return [builder.extract_value(values, i) for i in range(count)]


def packed(context, builder, kind, values):
    whole = context.get_constant_undef(kind)
    for i, value in enumerate(values):
        whole = builder.insert_value(whole, value, i)
    return whole


@intrinsic
def lanes(typing, array):
    """How many of the array's values one vector holds."""
    count = vector_of(array).lanes

    def codegen(context, builder, signature, args):
        return I64(count)

    return types.intp(array), codegen


@intrinsic
def load(typing, array, index):
    """array[index : index + lanes]"""
    vector = vector_of(array)

    def codegen(context, builder, signature, args):
        return load_at(context, builder, vector, place(builder, data_of(context, builder, array, args[0]), args[1]))

    return vector(array, types.intp), codegen


@intrinsic
def store(typing, value, array, index):
    """array[index : index + lanes] = value"""

    def codegen(context, builder, signature, args):
        address = place(builder, data_of(context, builder, array, args[1]), args[2])
        store_at(context, builder, value, args[0], address)
        return context.get_dummy_value()

    return types.void(value, array, types.intp), codegen


@intrinsic
def prefetch(typing, array, index):
    """Let the cache fetch array[index] for later; an address outside of the array does no harm."""

    def codegen(context, builder, signature, args):
        pointer = ir.IntType(8).as_pointer()
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [pointer, I32, I32, I32]), "llvm.prefetch.p0"
        )
        address = builder.bitcast(place(builder, data_of(context, builder, array, args[0]), args[1]), pointer)
        builder.call(function, [address, I32(0), I32(2), I32(1)])  # to read, often, data
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


@intrinsic
def load_even(typing, array, index):
    """array[index : index + 2 * lanes - 1 : 2]; nothing behind the last of them is read."""
    vector = vector_of(array)
    count = vector.lanes

    def codegen(context, builder, signature, args):
        first = place(builder, data_of(context, builder, array, args[0]), args[1])
        low = load_at(context, builder, vector, first)
        high = load_at(context, builder, vector, place(builder, first, I64(count - 1)))  # one early: odd lanes of it
        half = count // 2
        picks = [2 * i for i in range(half)] + [count + 2 * i + 1 for i in range(half)]
        return builder.shuffle_vector(low, high, lane_mask(picks))

    return vector(array, types.intp), codegen


@intrinsic
def store_pairs(typing, a, b, array, index):
    """array[index : index + 2 * lanes] = a[0], b[0], a[1], b[1], ..."""
    count = a.lanes

    def codegen(context, builder, signature, args):
        first = place(builder, data_of(context, builder, array, args[2]), args[3])
        for half in (0, 1):
            picks = [half * count // 2 + i // 2 + i % 2 * count for i in range(count)]
            pairs = builder.shuffle_vector(args[0], args[1], lane_mask(picks))
            store_at(context, builder, a, pairs, place(builder, first, I64(half * count)))
        return context.get_dummy_value()

    return types.void(a, b, array, types.intp), codegen


@intrinsic
def splat(typing, array, scalar):
    """A vector of the array's dtype with one value in every lane."""
    vector = vector_of(array)

    def codegen(context, builder, signature, args):
        return broadcast(context, builder, vector, args[1])

    return vector(array, vector.dtype), codegen


def _operator(operation, instruction):
    """Make an operator of two equal vectors one instruction: no function that is compiled and then inlined."""

    @type_callable(operation)
    def typed(context):
        return lambda a, b: a if isinstance(a, Vector) and a == b else None

    @lower_builtin(operation, Vector, Vector)
    def lowered(context, builder, signature, args):
        return instruction(builder, *args)


_operator(operator.add, lambda builder, a, b: builder.fadd(a, b, flags=("contract",)))
_operator(operator.sub, lambda builder, a, b: builder.fsub(a, b, flags=("contract",)))
_operator(operator.mul, lambda builder, a, b: builder.fmul(a, b, flags=("contract",)))
_operator(operator.truediv, lambda builder, a, b: builder.fdiv(a, b))


@intrinsic
def fma(typing, a, b, c):
    """a * b + c, rounded once; also of three single numbers of one dtype."""

    def codegen(context, builder, signature, args):
        return call_llvm(context, builder, c, "fma", *args)

    return c(a, b, c), codegen


def _selection(name, condition):
    """An intrinsic (p, q, a, b): lane by lane a where `condition(p, q)` holds, else b."""

    def typed(typing, p, q, a, b):
        def codegen(context, builder, signature, args):
            return builder.select(condition(builder, args[0], args[1]), args[2], args[3])

        return a(p, q, a, b), codegen

    typed.__name__ = typed.__qualname__ = name
    return intrinsic(typed)


def _beats(builder, p, q):
    """p is greater, or the first NaN: what replaces q as the largest so far."""
    return builder.and_(builder.fcmp_unordered("ugt", p, q), builder.fcmp_ordered("ord", q, q))


where_beats = _selection("where_beats", _beats)
where_at_most = _selection("where_at_most", lambda builder, p, q: builder.fcmp_ordered("<=", p, q))
where_equal = _selection("where_equal", lambda builder, p, q: builder.fcmp_ordered("==", p, q))


@intrinsic
def store_bytes(typing, value, array, index):
    """array[index : index + lanes] = value, whole numbers from 0 to 255 as bytes."""

    def codegen(context, builder, signature, args):
        kind = ir.VectorType(ir.IntType(8), value.lanes)
        small = builder.trunc(builder.fptosi(args[0], ir.VectorType(I32, value.lanes)), kind)
        address = place(builder, data_of(context, builder, array, args[1]), args[2])
        builder.store(small, builder.bitcast(address, kind.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(value, array, types.intp), codegen


@intrinsic
def load_bytes(typing, like, array, index):
    """Bytes array[index : index + lanes] as a vector of the dtype of `like`."""
    vector = vector_of(like)

    def codegen(context, builder, signature, args):
        kind = ir.VectorType(ir.IntType(8), vector.lanes)
        address = place(builder, data_of(context, builder, array, args[1]), args[2])
        small = builder.load(builder.bitcast(address, kind.as_pointer()), align=1)
        return builder.sitofp(builder.zext(small, ir.VectorType(I32, vector.lanes)), llvm_type(context, vector))

    return vector(like, array, types.intp), codegen


@intrinsic
def first_lane(typing, value):
    """A vector's first value."""

    def codegen(context, builder, signature, args):
        return builder.extract_element(args[0], I32(0))

    return value.dtype(value), codegen


@intrinsic
def lane_sum(typing, value):
    """The sum of a vector's lanes, by a balanced tree: neighbours first."""

    def codegen(context, builder, signature, args):
        total, width = args[0], value.lanes
        while width > 1:
            width //= 2
            undefined = ir.Constant(total.type, UNDEFINED)
            even = builder.shuffle_vector(total, undefined, lane_mask([2 * i for i in range(width)]))
            odd = builder.shuffle_vector(total, undefined, lane_mask([2 * i + 1 for i in range(width)]))
            total = builder.fadd(even, odd)
        return builder.extract_element(total, I32(0))

    return value.dtype(value), codegen


_HAS_FLUSH = llvm.get_default_triple().startswith(("x86_64", "i686"))
_FLUSH = 0x8040  # of the control register MXCSR: denormal results become 0, denormal operands count as 0


def set_flush(builder):
    """Count denormal numbers as 0 on this thread; gives the state before."""
    if not _HAS_FLUSH:
        return I32(0)
    state = cgutils.alloca_once(builder, I32)
    _control(builder, "stmxcsr", state)
    before = builder.load(state)
    builder.store(builder.or_(before, I32(_FLUSH)), state)
    _control(builder, "ldmxcsr", state)
    return before


def reset_flush(builder, before):
    """Undo `set_flush`: whoever uses this thread next gets the state it had."""
    if _HAS_FLUSH:
        state = cgutils.alloca_once(builder, I32)
        builder.store(before, state)
        _control(builder, "ldmxcsr", state)


def _control(builder, name, state):
    pointer = ir.IntType(8).as_pointer()
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.VoidType(), [pointer]), f"llvm.x86.sse.{name}"
    )
    builder.call(function, [builder.bitcast(state, pointer)])
