"""The border to the file-system level: what comes from below as `OSError` leaves ntfsa as `NtStatusError`."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from lamina.ntfsa.errors import nt_error

_P = ParamSpec("_P")
_T = TypeVar("_T")


def translated(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let `function` raise `NtStatusError` where it would raise `OSError`; for the public functions of this layer."""

    @wraps(function)
    def border(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return function(*args, **kwargs)
        except OSError as error:
            raise nt_error(error) from error

    return border
