"""Numba kernels on arrays: `<op>_forward` with `<op>_backward`, or with a gradient by each input.

This folder knows nothing of tensors and imports numpy, numba (with its llvmlite) and the standard library. Ops check,
kernels trust: shapes, dtypes and contiguity are validated above, and a kernel reads raw memory, so nothing but an op
calls one. A kernel allocates nothing: outputs and scratch come in as its last arguments. What an op launches is a
serial worker over a range of items, which `threads.Launcher` cuts into parts for the threads.
README.md beside this file explains vectors, register tiles and what is built of them.
"""
