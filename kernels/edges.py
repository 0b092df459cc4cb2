"""Vectors and tiles of which only some values are there: no other memory is read or written."""

from llvmlite import ir
from numba.core import cgutils, types

from .simd import (
    I32,
    I64,
    UNDEFINED,
    data_of,
    intrinsic,
    items_of,
    lane_mask,
    llvm_type,
    packed,
    place,
    vector_of,
)
from .tile import tile_of


def _lanes_below(builder, count, lanes, first=0):
    """A mask: lane e is on where first + e < count, an integer of 64 bits."""
    counts = builder.shuffle_vector(
        builder.insert_element(ir.Constant(ir.VectorType(I64, lanes), UNDEFINED), count, I32(0)),
        ir.Constant(ir.VectorType(I64, lanes), UNDEFINED),
        lane_mask([0] * lanes),
    )
    return builder.icmp_signed("<", ir.Constant(ir.VectorType(I64, lanes), list(range(first, first + lanes))), counts)


def _masked_load_at(context, builder, vector, address, mask):
    """The lanes that the mask names; 0 in the others, whose memory is not touched."""
    kind = llvm_type(context, vector)
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(kind, [kind.as_pointer(), I32, mask.type, kind]),
        f"llvm.masked.load.v{vector.lanes}f{vector.dtype.bitwidth}.p0",
    )
    pointer = builder.bitcast(address, kind.as_pointer())
    return builder.call(function, [pointer, I32(vector.dtype.bitwidth // 8), mask, ir.Constant(kind, None)])


def _masked_store_at(context, builder, vector, value, address, mask):
    """Only the lanes that the mask names."""
    kind = llvm_type(context, vector)
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(ir.VoidType(), [kind, kind.as_pointer(), I32, mask.type]),
        f"llvm.masked.store.v{vector.lanes}f{vector.dtype.bitwidth}.p0",
    )
    pointer = builder.bitcast(address, kind.as_pointer())
    builder.call(function, [value, pointer, I32(vector.dtype.bitwidth // 8), mask])


@intrinsic
def load_some(typing, array, index, count):
    """array[index : index + count], and 0 in the lanes from `count` on, whose memory is not read."""
    vector = vector_of(array)

    def codegen(context, builder, signature, args):
        address = place(builder, data_of(context, builder, array, args[0]), args[1])
        return _masked_load_at(context, builder, vector, address, _lanes_below(builder, args[2], vector.lanes))

    return vector(array, types.intp, types.intp), codegen


@intrinsic
def load_some_tile(typing, array, rows, columns, count):
    """The tile of which only the first `count` values of a row are there, and zeros; no other memory is read."""
    vector = vector_of(array)
    tile = tile_of(vector, rows, columns)

    def codegen(context, builder, signature, args):
        data = data_of(context, builder, array, args[0])
        masks = [_lanes_below(builder, args[3], vector.lanes, n * vector.lanes) for n in range(columns.count)]
        values = [
            _masked_load_at(context, builder, vector, place(builder, data, r, c), mask)
            for r in items_of(builder, args[1], rows.count)
            for c, mask in zip(items_of(builder, args[2], columns.count), masks, strict=True)
        ]
        return packed(context, builder, tile, values)

    return tile(array, rows, columns, types.intp), codegen


@intrinsic
def store_some_tile(typing, tile, array, rows, columns, count):
    """The first `count` values of each of the tile's rows, to array[rows[m] + columns[0] :]; no more is written."""
    vector = tile.dtype

    def codegen(context, builder, signature, args):
        data = data_of(context, builder, array, args[1])
        masks = [_lanes_below(builder, args[4], vector.lanes, n * vector.lanes) for n in range(columns.count)]
        places = [
            (place(builder, data, r, c), mask)
            for r in items_of(builder, args[2], rows.count)
            for c, mask in zip(items_of(builder, args[3], columns.count), masks, strict=True)
        ]
        for value, (address, mask) in zip(items_of(builder, args[0], tile.count), places, strict=True):
            _masked_store_at(context, builder, vector, value, address, mask)
        return context.get_dummy_value()

    return types.void(tile, array, rows, columns, types.intp), codegen
