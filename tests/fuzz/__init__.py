"""Hostile calls: every public function with one or two arguments that nobody should pass, and arrays in every guise.

A call gives a right result or a clear `ValueError` or `TypeError` that names the function; it never crashes, hangs,
fills the memory, or shows an error from the inside. What is passed in place of a good argument has a name
(`values.py`), so a case is a line of text and can be run again: `python -m tests.fuzz --case "conv2d stride=2**63"`.
"""
