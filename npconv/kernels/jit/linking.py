"""Each loop is optimised once, as a whole. Numba would optimise and emit each of its parts as well, and every part again in the next.

A parallel loop goes through five libraries of code: the functions that it calls, its body, two wrappers of the body, and
the function that Python calls. Each contains the ones before it, and Numba takes each through all of LLVM, although nothing but
the last is ever run. So compiling a convolution takes twice as long as it has to: 20.7 s became 9.2 s.

Of Numba's inner workings this file replaces the class of libraries (`JITCodeLibrary`), for the time of one compilation, and the
target's functions that give code an address and a wrapper; it reads the dispatcher's compiler and the events of compiling.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from numba import _dynfunc
from numba.core import event
from numba.core.codegen import JITCodeLibrary
from numba.core.registry import cpu_target


class _Part(JITCodeLibrary):  # type: ignore[misc]  # Numba has no types
    """Code that is linked into other code as it is, and optimised and emitted only when somebody wants its address."""

    _emitted = False

    def add_llvm_module(self, ll_module: Any) -> None:
        """Put variables into registers first: without this, LLVM makes no vectors of bare loops, which were 3 times as slow."""
        self._optimize_functions(ll_module)
        self._final_module.link_in(ll_module)

    def finalize(self) -> None:
        """Put in what the code calls."""
        self._raise_if_finalized()
        for library in dict.fromkeys(self._linking_libraries):
            self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """The address of a function, or 0 where there is none of that name."""
        self._ensure_finalized()
        if not self._emitted:
            self._optimize_final_module()
            self._final_module.verify()
            self._finalize_final_module()
            self._emitted = True
        address: int = super().get_pointer_to_function(name)
        return address


@contextlib.contextmanager
def _in_one_piece(loop: Callable[..., None]) -> Iterator[None]:
    """What is compiled inside is part of `loop`. Only for a thread that holds the compiler's lock.

    The functions that the loop calls get no address and no wrapper, so their dispatchers must forget what was compiled for the loop:
    Python may call them, too, and then they are compiled for that.
    """
    context = cpu_target.target_context
    codegen = context.codegen()
    plain_executable, plain_wrapper = context.get_executable, context.create_cpython_wrapper
    environments: dict[str, Any] = {}

    def is_loop(description: Any) -> bool:
        return (description.modname, description.qualname) == (loop.__module__, loop.__qualname__)

    def create_cpython_wrapper(library: Any, description: Any, *arguments: Any, **options: Any) -> None:
        if is_loop(description):
            plain_wrapper(library, description, *arguments, **options)

    def get_executable(library: Any, description: Any, environment: Any) -> Any:
        if is_loop(description):
            function = plain_executable(library, description, environment)
            for name, part_environment in environments.items():
                if codegen._engine.is_symbol_defined(name):
                    codegen.set_env(name, part_environment)
            return function
        environments[context.get_env_name(description)] = environment
        name = description.qualname.split(".")[-1]
        return _dynfunc.make_function(description.lookup_module(), name, "", 0, environment, (library,))

    codegen._library_class, context.get_executable = _Part, get_executable
    context.create_cpython_wrapper, context.create_cfunc_wrapper = create_cpython_wrapper, lambda *_: None
    try:
        with event.install_recorder("numba:compile") as recorder:
            yield
    finally:
        del codegen._library_class, context.get_executable
        del context.create_cpython_wrapper, context.create_cfunc_wrapper
        for dispatcher in {started.data["dispatcher"] for _, started in recorder.buffer}:
            if dispatcher.py_func is not loop:
                dispatcher._make_finalizer()()
                dispatcher._reset_overloads()


def link_before_optimizing(dispatcher: Any) -> None:
    """Let a loop, and what it calls, be optimised when all of it is there."""
    compiler = dispatcher._compiler
    plain_compile = compiler.compile

    def compile_whole(arguments: Any, return_type: Any) -> Any:
        with _in_one_piece(dispatcher.py_func):
            return plain_compile(arguments, return_type)

    compiler.compile = compile_whole
