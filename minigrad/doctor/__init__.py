"""`minigrad doctor`: what this installation is, how its kernels run, and what is wrong with it.

`sections()` looks at everything that can be looked at; `tests()` compute: every pair of kernels against differences,
float32 against float64, all threads against one.
"""

from minigrad.doctor.finding import Finding, Verdict
from minigrad.doctor.report import sections
from minigrad.doctor.selftest import tests

__all__ = ["Finding", "Verdict", "sections", "tests"]
