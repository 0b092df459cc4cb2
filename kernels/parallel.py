"""What `threads.Launcher` compiles around a worker: the call on one part, and a loop over the parts on Numba's threads.

Written in LLVM's instructions, for a prange, and passing on twenty arguments, take longer to compile than most workers.
"""

import numba.np.ufunc.parallel as threading_layer
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .simd import I64, items_of, reset_flush, set_flush

POINTER, SIZES = ir.IntType(8).as_pointer(), I64.as_pointer()
PART = ir.FunctionType(ir.VoidType(), [POINTER.as_pointer(), SIZES, SIZES, POINTER])
LOOP = ir.FunctionType(ir.VoidType(), [POINTER] * 5 + [I64] * 3)


@intrinsic(prefer_literal=True)
def run_part(typing, worker, flushes, part, parts, n, args):
    """worker(part * n // parts, (part + 1) * n // parts, part, *args)"""
    signature = _signature(typing, worker, args)

    def codegen(context, builder, outer, values):
        status = _run(context, builder, worker, signature, flushes, *values[2:])
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return types.void(worker, flushes, types.intp, types.intp, types.intp, args), codegen


@intrinsic(prefer_literal=True)
def run_parts(typing, worker, flushes, parts, n, args):
    """`run_part` for each part < parts, side by side; what it raises is lost."""
    signature = _signature(typing, worker, args)

    def codegen(context, builder, outer, values):
        # The layer's functions are found by name, also by code that comes from the cache.
        threading_layer._launch_threads()
        context.active_code_library._reload_init.add(threading_layer._launch_threads)
        kinds = [I64, I64, context.get_value_type(args)]
        shared = cgutils.alloca_once(builder, ir.LiteralStructType(kinds))
        for i, value in enumerate(values[2:]):
            builder.store(value, cgutils.gep_inbounds(builder, shared, 0, i))
        module = builder.module
        # The layer gives a function several parts at once: how many, and an address from which to start,
        # moved on by the step for each part before. Beginning at 0 by steps of 1, it is the first part's number.
        function = ir.Function(module, PART, module.get_unique_name("parts"))
        function.linkage = "internal"
        body = ir.IRBuilder(function.append_basic_block())
        _run_some(context, body, function.args, shared.type, worker, signature, flushes)
        first, count, step = (cgutils.alloca_once(builder, kind) for kind in (POINTER, I64, I64))
        for place, number in ((first, ir.Constant(POINTER, None)), (count, values[2]), (step, I64(1))):
            builder.store(number, place)
        loop = cgutils.get_or_insert_function(module, LOOP, "numba_parallel_for")
        threads = cgutils.get_or_insert_function(module, ir.FunctionType(I64, []), "get_num_threads")
        addresses = [builder.bitcast(place, POINTER) for place in (function, first, count, step, shared)]
        builder.call(loop, [*addresses, I64(0), I64(1), builder.call(threads, [])])
        return context.get_dummy_value()

    return types.void(worker, flushes, types.intp, types.intp, args), codegen


def _signature(typing, worker, args):
    return worker.get_call_type(typing, (types.intp, types.intp, types.intp, *args.types), {})


def _run_some(context, builder, arguments, shared_type, worker, signature, flushes):
    """The body of what the threading layer calls: some neighbouring parts."""
    starts, counts, _, data = arguments
    first, count = builder.ptrtoint(builder.load(starts), I64), builder.load(counts)
    shared = items_of(builder, builder.load(builder.bitcast(data, shared_type)), 3)
    with cgutils.for_range(builder, count) as loop:
        _run(context, builder, worker, signature, flushes, builder.add(first, loop.index), *shared)
    builder.ret_void()


def _run(context, builder, worker, signature, flushes, part, parts, n, args):
    """Call the worker on a part; how that ended."""
    start, stop = (builder.udiv(builder.mul(i, n), parts) for i in (part, builder.add(part, I64(1))))
    arguments = [start, stop, part, *items_of(builder, args, len(signature.args) - 3)]
    compiled = worker.dispatcher.part.overloads[signature.args]
    context.active_code_library.add_linking_library(compiled.library)
    before = set_flush(builder) if flushes.literal_value else None
    status, _ = context.call_internal_no_propagate(builder, compiled.fndesc, signature, arguments)
    if flushes.literal_value:
        reset_flush(builder, before)
    return status
