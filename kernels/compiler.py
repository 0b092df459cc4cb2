"""How kernels become machine code: each that is called from Python as a whole, once, with all that it calls in it.

Numba by itself optimises every function it meets, makes machine code of it, and then optimises it again within each
of its callers, and those within theirs. Here a kernel that another one calls is handed over as it was lowered, and
LLVM's passes run over the outermost one only.
"""

import contextlib
import functools
import gc
from collections.abc import Iterator
from typing import Any

import numba.core.codegen
import numba.core.compiler
import numba.core.compiler_machinery
import numba.core.registry
import numba.core.typed_passes
import numba.core.untyped_passes

nb: Any = numba  # it is typed in part only
untyped, typed = nb.core.untyped_passes, nb.core.typed_passes

PASSES = (
    *(untyped.TranslateByteCode, untyped.FixupArgs, untyped.IRProcessing),
    *(untyped.RewriteSemanticConstants, untyped.DeadBranchPrune, untyped.GenericRewrites),
    *(untyped.ReconstructSSA, untyped.DeadBranchPrune),
    *(typed.NopythonTypeInference, typed.PreLowerStripPhis, typed.IRLegalization),
    *(typed.AnnotateTypes, typed.NativeLowering, typed.NoPythonBackend),
)


class Whole(nb.core.codegen.JITCodeLibrary):  # type: ignore[misc]
    """The code of a kernel with all that it calls: optimised when it is complete, and once."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        passes, builder = self._codegen._module_pass_manager()
        passes.run(self._final_module, builder)


class Part(Whole):
    """The code of a called kernel: linked into its caller's, and never run by itself."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class KernelCompiler(nb.core.compiler.CompilerBase):  # type: ignore[misc]
    """Numba's compiler without the passes for what no kernel holds: closures, array expressions, inlining by Numba."""

    library = Whole

    def compile_extra(self, function: Any) -> Any:
        self.state.library = self.library(self.state.targetctx.codegen(), function.__qualname__)
        self.state.library.enable_object_caching()
        return super().compile_extra(function)

    def define_pipelines(self) -> list[Any]:
        manager = nb.core.compiler_machinery.PassManager("kernel")
        for each in PASSES:
            manager.add_pass(each, each.name())
        manager.finalize()
        return [manager]


class PartCompiler(KernelCompiler):
    """The compiler of a part: up to LLVM's code."""

    library = Part

    def compile_extra(self, function: Any) -> Any:
        flags = self.state.flags
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        return super().compile_extra(function)


class PartDispatcher(nb.core.registry.CPUDispatcher):  # type: ignore[misc]
    """A kernel as its callers compile it."""

    def add_overload(self, result: Any) -> None:
        """Let callers find the code by a key, in place of the address that they never call."""
        key = object()
        self.targetctx.insert_user_function(key, result.fndesc, [result.library])
        self.overloads[tuple(result.signature.args)] = result._replace(entry_point=key)


class KernelDispatcher(nb.core.registry.CPUDispatcher):  # type: ignore[misc]
    """A kernel as Python calls it, and the way for other kernels to its part."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, pipeline_class=KernelCompiler, **options)

    def compile(self, signature: Any) -> Any:
        with _uncollected():
            return super().compile(signature)

    @functools.cached_property
    def part(self) -> PartDispatcher:
        return PartDispatcher(self.py_func, targetoptions=self.targetoptions, pipeline_class=PartCompiler)

    def get_call_template(self, args: Any, keywords: Any) -> Any:
        return self.part.get_call_template(args, keywords)

    def get_overload(self, signature: Any) -> Any:
        return self.part.get_overload(signature)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector, which looks through all of Numba again and again while kernels are compiled."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
