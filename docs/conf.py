"""Settings of the documentation. A new public module is a line in `public_modules`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

public_modules = [
    "minigrad",
    "minigrad.functional",
    "minigrad.nn",
    "minigrad.nn.init",
    "minigrad.optim",
    "minigrad.optim.lr_scheduler",
    "minigrad.data",
    "minigrad.models",
    "minigrad.training",
    "minigrad.distributed",
    "minigrad.interpret",
    "minigrad.plot",
    "minigrad.onnx",
    "minigrad.testing",
]

# What the files and folders of a module are called on its page, in this order; others follow under their own names.
parts = {
    "tensor": "Tensors",
    "autograd": "Derivatives",
    "modes": "Modes",
    "ops": "Functions of tensors",
    "op": "Ops of your own",
    "gradcheck": "Checking gradients",
    "profiler": "Profiling",
    "random": "Random numbers",
    "serialize": "Files",
    "kernels": "Threads",
    "sets": "Data sets",
    "batches": "Batches",
    "sources": "Sources",
    "idx": "IDX files",
    "images": "Images",
    "layers": "Checking layers",
    "strategies": "Strategies",
    "cases": "Geometries",
    "sanitizer": "Checking memory",
    "module": "Modules",
    "parameter": "Parameters",
    "containers": "Containers",
    "linear": "Linear maps",
    "conv": "Convolution",
    "pool": "Pooling",
    "shape": "Linear maps and resizing",
    "activation": "Activations and dropout",
    "norm": "Normalisation",
    "loss": "Losses",
    "sgd": "SGD",
    "adam": "Adam",
    "rmsprop": "RMSprop",
    "optimizer": "Optimisers of your own",
    "clip": "Clipping gradients",
}

project = html_title = "minigrad"
extensions = ["sphinx.ext.autodoc", "myst_parser", "reference_pages"]
nitpicky = True
myst_heading_anchors = 3
smartquotes = False
add_module_names = False
autodoc_typehints = "none"  # the shapes say more, and signatures stay readable
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
toc_object_entries_show_parents = "hide"
html_theme = "furo"
html_static_path = html_css_files = ["style.css"]
html_copy_source = html_show_copyright = False
