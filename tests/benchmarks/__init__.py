"""minigrad beside PyTorch and JAX, at the same number of threads: `python -m tests.benchmarks --help`.

A section is a function that yields rows; `bench.py` has what it is given, `timing.py` how calls are timed, `report.py`
how rows are shown, and `peers/` the same work in each library.
"""
