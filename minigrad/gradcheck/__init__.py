"""The gradient checker: every element of a Jacobian against differences with error bars, and what is probably wrong.

`problem` makes flat vectors of what is checked, `full` compares, `differences` has the numerical side, `behaviour` and
`causes` find what went wrong, `report` says it.
"""

from minigrad.gradcheck.check import gradcheck, gradgradcheck
from minigrad.gradcheck.report import Cause, Element, GradcheckError, Report

__all__ = ["Cause", "Element", "GradcheckError", "Report", "gradcheck", "gradgradcheck"]
