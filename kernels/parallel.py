"""A loop over Numba's threads in one call, for `threads.Launcher`: a prange takes longer to compile than its body."""

import numba.np.ufunc.parallel as threading_layer
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .simd import I64

POINTER, SIZES = ir.IntType(8).as_pointer(), I64.as_pointer()
PART = ir.FunctionType(ir.VoidType(), [POINTER.as_pointer(), SIZES, SIZES, POINTER])
LOOP = ir.FunctionType(ir.VoidType(), [POINTER] * 5 + [I64] * 3)


@intrinsic
def run_parts(typing, run_part, parts, n, args):
    """run_part(part, parts, n, args) for each part < parts, side by side; what it raises is lost."""
    signature = run_part.get_call_type(typing, (types.intp, types.intp, types.intp, args), {})

    def codegen(context, builder, outer, values):
        # The layer's functions are found by name, also by code that comes from the cache.
        threading_layer._launch_threads()
        context.active_code_library._reload_init.add(threading_layer._launch_threads)
        kinds = [I64, I64, context.get_value_type(args)]
        shared = cgutils.alloca_once(builder, ir.LiteralStructType(kinds))
        for i, value in enumerate(values[1:]):
            builder.store(value, cgutils.gep_inbounds(builder, shared, 0, i))
        module = builder.module
        # The layer gives a function several parts at once: how many, and an address from which to start,
        # moved on by the step for each part before. Beginning at 0 by steps of 1, it is the first part's number.
        function = ir.Function(module, PART, module.get_unique_name("parts"))
        function.linkage = "internal"
        _run_some(context, ir.IRBuilder(function.append_basic_block()), function, shared.type, run_part, signature)
        first, count, step = (cgutils.alloca_once(builder, kind) for kind in (POINTER, I64, I64))
        for place, number in ((first, ir.Constant(POINTER, None)), (count, values[1]), (step, I64(1))):
            builder.store(number, place)
        loop = cgutils.get_or_insert_function(module, LOOP, "numba_parallel_for")
        threads = cgutils.get_or_insert_function(module, ir.FunctionType(I64, []), "get_num_threads")
        addresses = [builder.bitcast(place, POINTER) for place in (function, first, count, step, shared)]
        builder.call(loop, [*addresses, I64(0), I64(1), builder.call(threads, [])])
        return context.get_dummy_value()

    return types.void(run_part, types.intp, types.intp, args), codegen


def _run_some(context, builder, function, shared_type, run_part, signature):
    """The body of what the threading layer calls: some neighbouring parts."""
    starts, counts, _, data = function.args
    shared = builder.load(builder.bitcast(data, shared_type))
    first, count = builder.ptrtoint(builder.load(starts), I64), builder.load(counts)
    result = run_part.dispatcher.part.overloads[signature.args]
    context.active_code_library.add_linking_library(result.library)
    with cgutils.for_range(builder, count) as loop:
        arguments = [builder.add(first, loop.index), *(builder.extract_value(shared, i) for i in range(3))]
        callee = context.declare_function(builder.module, result.fndesc)
        context.call_conv.call_function(builder, callee, signature.return_type, signature.args, arguments)
    builder.ret_void()
