"""What linear algebra raises on NaN is the same numerical failure that a run tells by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np

from mfpde.errors import NumericalError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def numerical(run: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """``run`` with LinAlgError, ArithmeticError and NumPy's and SciPy's refusals of NaN turned into NumericalError."""

    @wraps(run)
    def named(*arguments: Arguments.args, **rest: Arguments.kwargs) -> Result:
        try:
            return run(*arguments, **rest)
        except (ArithmeticError, np.linalg.LinAlgError) as error:
            raise NumericalError(f"the computation broke down: {error}") from error
        except ValueError as error:
            if "nan" not in str(error).lower():
                raise
            raise NumericalError(f"the computation became non-finite: {error}") from error

    return named
