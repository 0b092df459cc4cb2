"""What is right, where a checker might think it wrong: minigrad's own functions, at inputs that are hard to check.

Among the inputs are ties, zeros of both signs, repeated and nearly equal values, and scales from 1e-3 to 1e3.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from mistakes.correct import arrays, elementwise, networks, pooling, products  # noqa: F401 (each registers its makers)
from mistakes.correct.source import MAKERS, Correct, Source


@st.composite
def correct_cases(draw: Callable[..., Any]) -> Correct:
    return MAKERS[draw(st.sampled_from(sorted(MAKERS)))](Source(draw))
