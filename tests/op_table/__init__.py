"""The op table: for every op in OPS how to draw its inputs, what it should compute, in which inputs it is linear, and
which inputs it must refuse. The property tests run every row; a test fails for an op without one.
"""

from op_table import elementwise, fused, products, shapes, windows
from op_table.row import ROWS

__all__ = ["ROWS", "elementwise", "fused", "products", "shapes", "windows"]
