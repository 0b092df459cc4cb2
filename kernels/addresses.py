"""Arrays by address: so one launch takes as many as there are, of the kinds that one type describes."""

from numba.core import types

from .simd import I64, intrinsic, llvm_type, nb


@intrinsic
def values_at(typing, like, address, start, stop):
    """array[start:stop] of the flat array of the dtype of `like` that begins at an address; at 0 there is nothing."""
    kind = types.Array(like.dtype, 1, "C")

    def codegen(context, builder, signature, args):
        _, address, start, stop = args
        view, item = context.make_array(kind)(context, builder), llvm_type(context, like.dtype)
        size = I64(context.get_abi_sizeof(item))
        data = builder.inttoptr(builder.add(address, builder.mul(start, size)), item.as_pointer())
        shape = [builder.select(builder.icmp_signed("==", address, I64(0)), I64(0), builder.sub(stop, start))]
        # Numba imports it before it compiles; imported above, it would add a tenth of a second to every start.
        populate = nb.np.arrayobj.populate_array
        populate(view, data=data, shape=shape, strides=[size], itemsize=size, meminfo=None)
        return view._getvalue()

    return kind(like, types.int64, types.int64, types.int64), codegen


@intrinsic
def data_address(typing, identity):
    """The address of an array's data, by `id` of the array, which must be alive.

    NumPy keeps it behind what every object begins with: so it is compiled into all that is built on NumPy's C API.
    """

    def codegen(context, builder, signature, args):
        place = builder.add(args[0], I64(object.__basicsize__))
        return builder.load(builder.inttoptr(place, I64.as_pointer()))

    return types.int64(types.int64), codegen
