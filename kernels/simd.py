"""Vectors and register tiles as Numba types: the one place with LLVM in it.

A `Vector` is as many values as one register holds. A tile is ROWS x COLUMNS of them, which LLVM keeps in registers
through a loop. Arrays are flat; an index is a number of values from an array's first. All of it is raw memory access:
no index is checked, also in the checked run.
"""

import operator
import os

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, overload, register_model

nb = numba
I32, I64 = ir.IntType(32), ir.IntType(64)
UNDEFINED = ir.Undefined


def _host_has(feature):
    """Whether Numba compiles for a CPU with that feature (its settings can ask for less than the host has)."""
    features = nb.core.config.CPU_FEATURES
    if features is None:
        return bool(llvm.get_host_cpu_features().get(feature, False))
    return f"+{feature}" in features.split(",")


# MINIGRAD_VECTOR_BYTES lets a narrower machine test the tiles of a wider one: LLVM cuts their vectors into pieces.
_WIDEST = 64 if _host_has("avx512f") else 32 if _host_has("avx") else 16
VECTOR_BYTES = int(os.environ.get("MINIGRAD_VECTOR_BYTES", _WIDEST))
REGISTERS = 32 if VECTOR_BYTES == 64 or _host_has("neon") else 16
ROWS, COLUMNS = (14, 2) if REGISTERS == 32 else (6, 2)
"""The tile for products: all registers but two for its columns and one for a row's value."""


class Vector(types.Type):
    """VECTOR_BYTES of values of one dtype."""

    def __init__(self, dtype):
        self.dtype, self.lanes = dtype, VECTOR_BYTES // (dtype.bitwidth // 8)
        super().__init__(name=f"{dtype}x{self.lanes}")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, ir.VectorType(manager.lookup(kind.dtype).get_value_type(), kind.lanes))


def _vector_of(array):
    return Vector(array.dtype)


def _llvm(context, kind):
    return context.get_value_type(kind)


def _data(context, builder, kind, array):
    return context.make_array(kind)(context, builder, array).data


def _at(builder, data, *indices):
    """The address data + indices, the first ones added first: what does not change in a loop leaves it."""
    for index in indices:
        data = builder.gep(data, [index])
    return data


def _load(context, builder, vector, address):
    pointer = builder.bitcast(address, _llvm(context, vector).as_pointer())
    return builder.load(pointer, align=vector.dtype.bitwidth // 8)


def _store(context, builder, vector, value, address):
    pointer = builder.bitcast(address, _llvm(context, vector).as_pointer())
    builder.store(value, pointer, align=vector.dtype.bitwidth // 8)


def _splat(context, builder, vector, scalar):
    undefined = ir.Constant(_llvm(context, vector), UNDEFINED)
    first = builder.insert_element(undefined, scalar, I32(0))
    return builder.shuffle_vector(first, undefined, _mask([0] * vector.lanes))


def _mask(lanes):
    return ir.Constant(ir.VectorType(I32, len(lanes)), lanes)


def _call(context, builder, vector, name, *values):
    """An LLVM intrinsic on vectors, such as llvm.fma."""
    kind = _llvm(context, vector)
    suffix = f"v{vector.lanes}f{vector.dtype.bitwidth}"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * len(values)), f"llvm.{name}.{suffix}"
    )
    return builder.call(function, values)


def _items(builder, values, count):
    return [builder.extract_value(values, i) for i in range(count)]


def _pack(context, builder, kind, values):
    packed = context.get_constant_undef(kind)
    for i, value in enumerate(values):
        packed = builder.insert_value(packed, value, i)
    return packed


@intrinsic
def lanes(typing, array):
    """How many of the array's values one vector holds."""
    count = _vector_of(array).lanes

    def codegen(context, builder, signature, args):
        return I64(count)

    return types.intp(array), codegen


@intrinsic
def load(typing, array, index):
    """array[index : index + lanes]"""
    vector = _vector_of(array)

    def codegen(context, builder, signature, args):
        return _load(context, builder, vector, _at(builder, _data(context, builder, array, args[0]), args[1]))

    return vector(array, types.intp), codegen


@intrinsic
def store(typing, value, array, index):
    """array[index : index + lanes] = value"""

    def codegen(context, builder, signature, args):
        address = _at(builder, _data(context, builder, array, args[1]), args[2])
        _store(context, builder, value, args[0], address)
        return context.get_dummy_value()

    return types.void(value, array, types.intp), codegen


@intrinsic
def splat(typing, array, scalar):
    """A vector of the array's dtype with one value in every lane."""
    vector = _vector_of(array)

    def codegen(context, builder, signature, args):
        return _splat(context, builder, vector, args[1])

    return vector(array, vector.dtype), codegen


def _elementwise(name, instruction):
    """A binary operation of two vectors as an intrinsic, with its operands' types checked."""

    def typed(typing, a, b):
        if not (isinstance(a, Vector) and a == b):
            return None

        def codegen(context, builder, signature, args):
            return instruction(context, builder, a, *args)

        return a(a, b), codegen

    typed.__name__ = typed.__qualname__ = name
    return intrinsic(typed)


_add = _elementwise("_add", lambda context, builder, vector, a, b: builder.fadd(a, b, flags=("contract",)))
_subtract = _elementwise("_subtract", lambda context, builder, vector, a, b: builder.fsub(a, b, flags=("contract",)))
_multiply = _elementwise("_multiply", lambda context, builder, vector, a, b: builder.fmul(a, b, flags=("contract",)))
_divide = _elementwise("_divide", lambda context, builder, vector, a, b: builder.fdiv(a, b))


@overload(operator.add)
def _vector_add(a, b):
    return (lambda a, b: _add(a, b)) if isinstance(a, Vector) and a == b else None


@overload(operator.sub)
def _vector_subtract(a, b):
    return (lambda a, b: _subtract(a, b)) if isinstance(a, Vector) and a == b else None


@overload(operator.mul)
def _vector_multiply(a, b):
    return (lambda a, b: _multiply(a, b)) if isinstance(a, Vector) and a == b else None


@overload(operator.truediv)
def _vector_divide(a, b):
    return (lambda a, b: _divide(a, b)) if isinstance(a, Vector) and a == b else None


@intrinsic
def fma(typing, a, b, c):
    """a * b + c, rounded once."""

    def codegen(context, builder, signature, args):
        return _call(context, builder, c, "fma", *args)

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
        address = _at(builder, _data(context, builder, array, args[1]), args[2])
        builder.store(small, builder.bitcast(address, kind.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(value, array, types.intp), codegen


@intrinsic
def load_bytes(typing, like, array, index):
    """Bytes array[index : index + lanes] as a vector of the dtype of `like`."""
    vector = _vector_of(like)

    def codegen(context, builder, signature, args):
        kind = ir.VectorType(ir.IntType(8), vector.lanes)
        address = _at(builder, _data(context, builder, array, args[1]), args[2])
        small = builder.load(builder.bitcast(address, kind.as_pointer()), align=1)
        return builder.sitofp(builder.zext(small, ir.VectorType(I32, vector.lanes)), _llvm(context, vector))

    return vector(like, array, types.intp), codegen


@intrinsic(prefer_literal=True)
def spaced(typing, first, step, count):
    """(first, first + step, ...), `count` of them: where a tile's rows or columns start."""
    starts = types.UniTuple(types.intp, count.literal_value)

    def codegen(context, builder, signature, args):
        values = [args[0]]
        for _ in range(starts.count - 1):
            values.append(builder.add(values[-1], args[1]))
        return _pack(context, builder, starts, values)

    return starts(types.intp, types.intp, count), codegen


@intrinsic(prefer_literal=True)
def listed(typing, table, index, count):
    """(table[index], table[index + 1], ...), `count` of them: where a tile's rows or columns start."""
    starts = types.UniTuple(types.intp, count.literal_value)

    def codegen(context, builder, signature, args):
        data = _at(builder, _data(context, builder, table, args[0]), args[1])
        return _pack(context, builder, starts, [builder.load(_at(builder, data, I64(i))) for i in range(starts.count)])

    return starts(table, types.intp, count), codegen


def _tile_of(vector, rows, columns):
    return types.UniTuple(vector, rows.count * columns.count)


@intrinsic(prefer_literal=True)
def zeros(typing, array, rows, columns):
    """A tile of zeros of the array's dtype."""
    vector = _vector_of(array)
    tile = types.UniTuple(vector, rows.literal_value * columns.literal_value)

    def codegen(context, builder, signature, args):
        zero = ir.Constant(_llvm(context, vector), None)
        return _pack(context, builder, tile, [zero] * tile.count)

    return tile(array, rows, columns), codegen


@intrinsic
def load_tile(typing, array, rows, columns):
    """The tile of vectors array[rows[m] + columns[n] :], row by row."""
    vector = _vector_of(array)
    tile = _tile_of(vector, rows, columns)

    def codegen(context, builder, signature, args):
        data = _data(context, builder, array, args[0])
        places = [(r, c) for r in _items(builder, args[1], rows.count) for c in _items(builder, args[2], columns.count)]
        values = [_load(context, builder, vector, _at(builder, data, r, c)) for r, c in places]
        return _pack(context, builder, tile, values)

    return tile(array, rows, columns), codegen


@intrinsic
def store_tile(typing, tile, array, rows, columns):
    """array[rows[m] + columns[n] :] = the tile's vectors, row by row."""

    def codegen(context, builder, signature, args):
        data = _data(context, builder, array, args[1])
        places = [(r, c) for r in _items(builder, args[2], rows.count) for c in _items(builder, args[3], columns.count)]
        for value, (r, c) in zip(_items(builder, args[0], tile.count), places, strict=True):
            _store(context, builder, tile.dtype, value, _at(builder, data, r, c))
        return context.get_dummy_value()

    return types.void(tile, array, rows, columns), codegen


@intrinsic
def add_tiles(typing, a, b):
    """a + b, vector by vector."""

    def codegen(context, builder, signature, args):
        pairs = zip(_items(builder, args[0], a.count), _items(builder, args[1], a.count), strict=True)
        return _pack(context, builder, a, [builder.fadd(p, q) for p, q in pairs])

    return a(a, b), codegen


def _multiply_add(row_value):
    """An intrinsic on (tile, a, rows, i, b, columns, j): tile[m, n] += row_value(m) * b[columns[n] + j :]."""

    def typed(typing, tile, a, rows, i, b, columns, j):
        vector = tile.dtype

        def codegen(context, builder, signature, args):
            values, a_array, row_starts, at_row, b_array, column_starts, at_column = args
            a_data, b_data = _data(context, builder, a, a_array), _data(context, builder, b, b_array)
            right = [
                _load(context, builder, vector, _at(builder, b_data, start, at_column))
                for start in _items(builder, column_starts, columns.count)
            ]
            results = _items(builder, values, tile.count)
            for m, start in enumerate(_items(builder, row_starts, rows.count)):
                left = row_value(context, builder, vector, _at(builder, a_data, start, at_row))
                for n in range(columns.count):
                    k = m * columns.count + n
                    results[k] = _call(context, builder, vector, "fma", left, right[n], results[k])
            return _pack(context, builder, tile, results)

        return tile(tile, a, rows, types.intp, b, columns, types.intp), codegen

    return typed


def _broadcast(context, builder, vector, address):
    return _splat(context, builder, vector, builder.load(address))


@intrinsic
def outer(typing, tile, a, rows, i, b, columns, j):
    """tile[m, n] += a[rows[m] + i] * b[columns[n] + j :]: the outer product of some values and some vectors."""
    return _multiply_add(_broadcast)(typing, tile, a, rows, i, b, columns, j)


@intrinsic
def lanewise(typing, tile, a, rows, i, b, columns, j):
    """tile[m, n] += a[rows[m] + i :] * b[columns[n] + j :], lane by lane: a dot product in each lane."""
    return _multiply_add(_load)(typing, tile, a, rows, i, b, columns, j)


@intrinsic
def lane_sum(typing, value):
    """The sum of a vector's lanes, by a balanced tree: neighbours first."""

    def codegen(context, builder, signature, args):
        total, width = args[0], value.lanes
        while width > 1:
            width //= 2
            undefined = ir.Constant(total.type, UNDEFINED)
            even = builder.shuffle_vector(total, undefined, _mask([2 * i for i in range(width)]))
            odd = builder.shuffle_vector(total, undefined, _mask([2 * i + 1 for i in range(width)]))
            total = builder.fadd(even, odd)
        return builder.extract_element(total, I32(0))

    return value.dtype(value), codegen


def _transposed(builder, rows):
    """`rows` as columns, by a butterfly: for steps 1, 2, 4 ... pairs of rows exchange their off-diagonal blocks."""
    count, step = len(rows), 1
    while step < count:
        low = _mask([e if not e & step else count + e - step for e in range(count)])
        high = _mask([e + step if not e & step else count + e for e in range(count)])
        for r in range(count):
            if not r & step:
                a, b = rows[r], rows[r + step]
                rows[r], rows[r + step] = builder.shuffle_vector(a, b, low), builder.shuffle_vector(a, b, high)
        step *= 2
    return rows


@intrinsic
def transpose(typing, source, rows, i, target, columns, j):
    """target[columns[c] + j + r] = source[rows[r] + i + c] for a block of lanes x lanes values."""
    vector = _vector_of(source)

    def codegen(context, builder, signature, args):
        source_data, target_data = (_data(context, builder, kind, args[k]) for k, kind in ((0, source), (3, target)))
        values = [
            _load(context, builder, vector, _at(builder, source_data, start, args[2]))
            for start in _items(builder, args[1], rows.count)
        ]
        values = _transposed(builder, values)
        for start, value in zip(_items(builder, args[4], columns.count), values, strict=True):
            _store(context, builder, vector, value, _at(builder, target_data, start, args[5]))
        return context.get_dummy_value()

    return types.void(source, rows, types.intp, target, columns, types.intp), codegen


_HAS_FLUSH = llvm.get_default_triple().startswith(("x86_64", "i686"))
_FLUSH = 0x8040  # of the control register MXCSR: denormal results become 0, denormal operands count as 0


@intrinsic
def flush_denormals(typing):
    """Count denormal numbers as 0 on this thread, for they slow a multiplication down; the state before."""

    def codegen(context, builder, signature, args):
        if not _HAS_FLUSH:
            return I32(0)
        state = cgutils.alloca_once(builder, I32)
        _control(builder, "stmxcsr", state)
        before = builder.load(state)
        builder.store(builder.or_(before, I32(_FLUSH)), state)
        _control(builder, "ldmxcsr", state)
        return before

    return types.uint32(), codegen


@intrinsic
def restore_denormals(typing, before):
    """Undo `flush_denormals`: whoever uses this thread next gets the state it had."""

    def codegen(context, builder, signature, args):
        if _HAS_FLUSH:
            state = cgutils.alloca_once(builder, I32)
            builder.store(args[0], state)
            _control(builder, "ldmxcsr", state)
        return context.get_dummy_value()

    return types.void(types.uint32), codegen


def _control(builder, name, state):
    pointer = ir.IntType(8).as_pointer()
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.VoidType(), [pointer]), f"llvm.x86.sse.{name}"
    )
    builder.call(function, [builder.bitcast(state, pointer)])
