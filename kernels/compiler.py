"""How kernels become machine code: each that is called from Python as a whole, once, with all that it calls in it.

Numba by itself optimises every function it meets, makes machine code of it, and then optimises it again within each
of its callers, and those within theirs. Here a kernel that another one calls is handed over as it was lowered, and
LLVM's passes run over the outermost one only.
"""

import functools
from typing import Any

import numba.core.codegen
import numba.core.compiler
import numba.core.registry

nb: Any = numba  # it is typed in part only


class Part(nb.core.codegen.JITCodeLibrary):  # type: ignore[misc]
    """The code of a called kernel: linked into its caller's, and never run by itself."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class PartCompiler(nb.core.compiler.Compiler):  # type: ignore[misc]
    """Numba's compiler up to LLVM's code."""

    def __init__(
        self, typing: Any, target: Any, library: Any, args: Any, return_type: Any, flags: Any, local_types: Any
    ) -> None:
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        super().__init__(typing, target, Part(target.codegen(), "part"), args, return_type, flags, local_types)


class PartDispatcher(nb.core.registry.CPUDispatcher):  # type: ignore[misc]
    """A kernel as its callers compile it."""

    def add_overload(self, result: Any) -> None:
        """Let callers find the code by a key, in place of the address that they never call."""
        key = object()
        self.targetctx.insert_user_function(key, result.fndesc, [result.library])
        self.overloads[tuple(result.signature.args)] = result._replace(entry_point=key)


class KernelDispatcher(nb.core.registry.CPUDispatcher):  # type: ignore[misc]
    """A kernel as Python calls it, and the way for other kernels to its part."""

    @functools.cached_property
    def part(self) -> PartDispatcher:
        return PartDispatcher(self.py_func, targetoptions=self.targetoptions, pipeline_class=PartCompiler)

    def get_call_template(self, args: Any, keywords: Any) -> Any:
        return self.part.get_call_template(args, keywords)

    def get_overload(self, signature: Any) -> Any:
        return self.part.get_overload(signature)
