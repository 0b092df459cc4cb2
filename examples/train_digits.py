"""Train a classifier of digits; keep its weights, its history and two pictures.

    python examples/train_digits.py                                     # small digits that need no download
    python examples/train_digits.py --data mnist
    python examples/train_digits.py --data mnist --model cnn --epochs 5 --resume

Needs `python -m pip install "scikit-learn" "matplotlib" "tqdm"`, and "pooch" where MNIST is to be downloaded. It is
the command `minigrad train`: see `minigrad/cli/train.py`, and `minigrad/training/loop.py` for the loop.
"""

import sys

from minigrad.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
