"""Where ops get memory for outputs and scratch: kernels allocate nothing."""

from minigrad.memory import allocate, zeros

__all__ = ["allocate", "zeros"]
