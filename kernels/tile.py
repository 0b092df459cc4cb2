"""Register tiles: rows x columns of vectors, which LLVM keeps in registers through a loop.

`rows` and `columns` are tuples of where each of them starts in its array, so that one instruction serves a matrix, the
pixels that a filter sees, and images side by side.
"""

from llvmlite import ir
from numba.core import types

from .simd import (
    I64,
    VECTOR_BYTES,
    broadcast,
    call_llvm,
    data_of,
    host_has,
    intrinsic,
    items_of,
    lane_mask,
    llvm_type,
    load_at,
    packed,
    place,
    store_at,
    vector_of,
)  # fmt: skip

REGISTERS = 32 if VECTOR_BYTES == 64 or host_has("neon") else 16
ROWS, COLUMNS = (14, 2) if REGISTERS == 32 else (6, 2)
"""The tile for products: all registers but two for its columns and one for a row's value."""


@intrinsic(prefer_literal=True)
def spaced(typing, first, step, count):
    """(first, first + step, ...), `count` of them: where a tile's rows or columns start."""
    starts = types.UniTuple(types.intp, count.literal_value)

    def codegen(context, builder, signature, args):
        values = [args[0]]
        for _ in range(starts.count - 1):
            values.append(builder.add(values[-1], args[1]))
        return packed(context, builder, starts, values)

    return starts(types.intp, types.intp, count), codegen


@intrinsic(prefer_literal=True)
def clamped(typing, first, step, last, count):
    """(first, first + step, ...), `count` of them, none above `last`: a tile that is not full repeats its last row."""
    starts = types.UniTuple(types.intp, count.literal_value)

    def codegen(context, builder, signature, args):
        start, step, last = args[:3]
        values = []
        for _ in range(starts.count):
            values.append(builder.select(builder.icmp_signed("<", start, last), start, last))
            start = builder.add(start, step)
        return packed(context, builder, starts, values)

    return starts(types.intp, types.intp, types.intp, count), codegen


@intrinsic(prefer_literal=True)
def listed(typing, table, index, count):
    """(table[index], table[index + 1], ...), `count` of them: where a tile's rows or columns start."""
    starts = types.UniTuple(types.intp, count.literal_value)

    def codegen(context, builder, signature, args):
        data = place(builder, data_of(context, builder, table, args[0]), args[1])
        return packed(
            context, builder, starts, [builder.load(place(builder, data, I64(i))) for i in range(starts.count)]
        )

    return starts(table, types.intp, count), codegen


def tile_of(vector, rows, columns):
    """The type of a tile of such vectors."""
    return types.UniTuple(vector, rows.count * columns.count)


@intrinsic(prefer_literal=True)
def zeros(typing, array, rows, columns):
    """A tile of zeros of the array's dtype."""
    vector = vector_of(array)
    tile = types.UniTuple(vector, rows.literal_value * columns.literal_value)

    def codegen(context, builder, signature, args):
        zero = ir.Constant(llvm_type(context, vector), None)
        return packed(context, builder, tile, [zero] * tile.count)

    return tile(array, rows, columns), codegen


@intrinsic
def load_tile(typing, array, rows, columns):
    """The tile of vectors array[rows[m] + columns[n] :], row by row."""
    vector = vector_of(array)
    tile = tile_of(vector, rows, columns)

    def codegen(context, builder, signature, args):
        data = data_of(context, builder, array, args[0])
        places = [
            (r, c) for r in items_of(builder, args[1], rows.count) for c in items_of(builder, args[2], columns.count)
        ]
        values = [load_at(context, builder, vector, place(builder, data, r, c)) for r, c in places]
        return packed(context, builder, tile, values)

    return tile(array, rows, columns), codegen


@intrinsic
def store_tile(typing, tile, array, rows, columns):
    """array[rows[m] + columns[n] :] = the tile's vectors, row by row."""

    def codegen(context, builder, signature, args):
        data = data_of(context, builder, array, args[1])
        places = [
            (r, c) for r in items_of(builder, args[2], rows.count) for c in items_of(builder, args[3], columns.count)
        ]
        for value, (r, c) in zip(items_of(builder, args[0], tile.count), places, strict=True):
            store_at(context, builder, tile.dtype, value, place(builder, data, r, c))
        return context.get_dummy_value()

    return types.void(tile, array, rows, columns), codegen


@intrinsic
def add_tiles(typing, a, b):
    """a + b, vector by vector."""

    def codegen(context, builder, signature, args):
        pairs = zip(items_of(builder, args[0], a.count), items_of(builder, args[1], a.count), strict=True)
        return packed(context, builder, a, [builder.fadd(p, q) for p, q in pairs])

    return a(a, b), codegen


@intrinsic
def floored(typing, tile, floor):
    """The tile's values, none below `floor`, for which a NaN is not."""

    def codegen(context, builder, signature, args):
        least = broadcast(context, builder, tile.dtype, args[1])
        values = items_of(builder, args[0], tile.count)
        return packed(
            context, builder, tile, [builder.select(builder.fcmp_ordered("<=", v, least), least, v) for v in values]
        )

    return tile(tile, tile.dtype.dtype), codegen


def _multiply_add(row_value):
    """An intrinsic on (tile, a, rows, i, b, columns, j): tile[m, n] += row_value(m) * b[columns[n] + j :]."""

    def typed(typing, tile, a, rows, i, b, columns, j):
        vector = tile.dtype

        def codegen(context, builder, signature, args):
            values, a_array, row_starts, at_row, b_array, column_starts, at_column = args
            a_data, b_data = data_of(context, builder, a, a_array), data_of(context, builder, b, b_array)
            right = [
                load_at(context, builder, vector, place(builder, b_data, start, at_column))
                for start in items_of(builder, column_starts, columns.count)
            ]
            results = items_of(builder, values, tile.count)
            for m, start in enumerate(items_of(builder, row_starts, rows.count)):
                left = row_value(context, builder, vector, place(builder, a_data, start, at_row))
                for n in range(columns.count):
                    k = m * columns.count + n
                    results[k] = call_llvm(context, builder, vector, "fma", left, right[n], results[k])
            return packed(context, builder, tile, results)

        return tile(tile, a, rows, types.intp, b, columns, types.intp), codegen

    return typed


def _broadcast(context, builder, vector, address):
    return broadcast(context, builder, vector, builder.load(address))


@intrinsic
def outer(typing, tile, a, rows, i, b, columns, j):
    """tile[m, n] += a[rows[m] + i] * b[columns[n] + j :]: the outer product of some values and some vectors."""
    return _multiply_add(_broadcast)(typing, tile, a, rows, i, b, columns, j)


@intrinsic
def lanewise(typing, tile, a, rows, i, b, columns, j):
    """tile[m, n] += a[rows[m] + i :] * b[columns[n] + j :], lane by lane: a dot product in each lane."""
    return _multiply_add(load_at)(typing, tile, a, rows, i, b, columns, j)


def _transposed(builder, rows):
    """`rows` as columns, by a butterfly: for steps 1, 2, 4 ... pairs of rows exchange their off-diagonal blocks."""
    count, step = len(rows), 1
    while step < count:
        low = lane_mask([e if not e & step else count + e - step for e in range(count)])
        high = lane_mask([e + step if not e & step else count + e for e in range(count)])
        for r in range(count):
            if not r & step:
                a, b = rows[r], rows[r + step]
                rows[r], rows[r + step] = builder.shuffle_vector(a, b, low), builder.shuffle_vector(a, b, high)
        step *= 2
    return rows


@intrinsic
def transpose(typing, source, i, row_step, target, j, column_step):
    """target[j + c * column_step + r] = source[i + r * row_step + c] for r, c < lanes."""
    vector = vector_of(source)

    def codegen(context, builder, signature, args):
        source_data, target_data = (data_of(context, builder, kind, args[k]) for k, kind in ((0, source), (3, target)))
        rows, columns = (place(builder, source_data, args[1]), place(builder, target_data, args[4]))
        values = []
        for _ in range(vector.lanes):
            values.append(load_at(context, builder, vector, rows))
            rows = place(builder, rows, args[2])
        for value in _transposed(builder, values):
            store_at(context, builder, vector, value, columns)
            columns = place(builder, columns, args[5])
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, target, types.intp, types.intp), codegen


@intrinsic
def transpose_some(typing, source, i, row_step, last, target, j, column_step):
    """`transpose`, but of rows that begin behind `last` nothing is read: the row at `last` takes their place."""
    vector = vector_of(source)

    def codegen(context, builder, signature, args):
        source_data, target_data = (data_of(context, builder, kind, args[k]) for k, kind in ((0, source), (4, target)))
        row, columns = args[1], place(builder, target_data, args[5])
        values = []
        for _ in range(vector.lanes):
            start = builder.select(builder.icmp_signed("<", row, args[3]), row, args[3])
            values.append(load_at(context, builder, vector, place(builder, source_data, start)))
            row = builder.add(row, args[2])
        for value in _transposed(builder, values):
            store_at(context, builder, vector, value, columns)
            columns = place(builder, columns, args[6])
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, types.intp, target, types.intp, types.intp), codegen


@intrinsic
def transpose_to(typing, source, i, row_step, target, j, table, k):
    """target[j + table[k + c] + r] = source[i + r * row_step + c] for r, c < lanes."""
    vector = vector_of(source)

    def codegen(context, builder, signature, args):
        source_data, target_data = (data_of(context, builder, kind, args[n]) for n, kind in ((0, source), (3, target)))
        places = place(builder, data_of(context, builder, table, args[5]), args[6])
        rows, target_data = place(builder, source_data, args[1]), place(builder, target_data, args[4])
        values = []
        for _ in range(vector.lanes):
            values.append(load_at(context, builder, vector, rows))
            rows = place(builder, rows, args[2])
        for c, value in enumerate(_transposed(builder, values)):
            start = builder.load(place(builder, places, I64(c)))
            store_at(context, builder, vector, value, place(builder, target_data, start))
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, target, types.intp, table, types.intp), codegen
