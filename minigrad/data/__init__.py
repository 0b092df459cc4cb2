"""Digit sets, IDX files and batches, as NumPy arrays: images (N, C, H, W) with pixels in [0, 1], labels (N,)."""

from minigrad.data.batches import Batches
from minigrad.data.idx import read_idx, write_idx
from minigrad.data.images import resize
from minigrad.data.sets import DataSet, Split, arrays
from minigrad.data.sources import load

__all__ = ["Batches", "DataSet", "Split", "arrays", "load", "read_idx", "resize", "write_idx"]
