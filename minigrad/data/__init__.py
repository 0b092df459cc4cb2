"""Digit sets, files of images, batches, augmentation: images (N, C, H, W) with pixels in [0, 1], labels (N,)."""

from minigrad.data.augment import Augment
from minigrad.data.batches import Batches
from minigrad.data.folders import image_folder
from minigrad.data.idx import read_idx, write_idx
from minigrad.data.images import resize
from minigrad.data.sets import DataSet, Split, arrays
from minigrad.data.sources import load

__all__ = [
    "Augment",
    "Batches",
    "DataSet",
    "Split",
    "arrays",
    "image_folder",
    "load",
    "read_idx",
    "resize",
    "write_idx",
]
