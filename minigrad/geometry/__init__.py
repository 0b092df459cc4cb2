"""Geometry that explains itself: what sizes come about, what they cost, and what no window sees.

`trace` watches a forward pass, `reach` follows what each value sees of the input, `formulas` writes sizes out;
`table` and `windows` tell.
"""

from minigrad.geometry.table import Row, Summary, Totals, summary
from minigrad.geometry.windows import AxisWindows, Explanation, LayerWindows, explain

__all__ = ["AxisWindows", "Explanation", "LayerWindows", "Row", "Summary", "Totals", "explain", "summary"]
