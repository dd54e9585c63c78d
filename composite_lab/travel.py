"""How an exception gets to another process, or outlives a module that is loaded anew.

By itself an exception is unpickled by calling its class with `args`, which many classes cannot take. The
receiver then breaks, and a pool of processes takes every other result with it. So an exception that
`Travels` is put together without its `__init__`, its class is found by name, and what it holds and cannot
be pickled goes as a `StandIn` or as its `repr`.
"""

from __future__ import annotations

import pickle
from contextlib import suppress
from importlib import import_module
from typing import Any, Self

Names = tuple[str, str]
"""The module of a class and its qualified name in there."""

PLAIN = (str, int, float, bool, type(None))


class Travels(BaseException):
    """A mixin of exceptions: survives pickle, `copy.deepcopy` and a reload, with all that it holds."""

    def __reduce__(self) -> tuple[Any, ...]:
        return reduced(self)

    def __copy__(self) -> Self:
        # Within the process nothing has to be replaced.
        twin = type(self).__new__(type(self), *self.args)
        twin.args = self.args
        twin.__setstate__(_state(self))
        return twin


class StandIn(Travels, Exception):
    """In place of an exception that cannot be pickled.

    It is of a class with the other's name, `class_name`, and has its `message` and `status_code`, which is
    None where there was none.
    """

    def __init__(self, class_name: str, message: str, status_code: int | None = None) -> None:
        super().__init__(message)
        self.class_name, self.message, self.status_code = class_name, message, status_code

    def __reduce__(self) -> tuple[Any, ...]:
        told = (self.class_name, self.message, self.status_code)
        return import_module(__name__).stand_in, told, travelling(_state(self))


def stand_in(class_name: str, message: str, status_code: int | None = None) -> StandIn:
    """A `StandIn` whose class has that name, so that a traceback says what it was."""
    kind: type[StandIn] = type(class_name, (StandIn,), {"__module__": __name__})
    return kind(class_name, message, status_code)


def reduced(error: BaseException) -> tuple[Any, ...]:
    """What pickle and copy need to make the exception anew: a function, its arguments, the rest."""
    # Looked up, because after a reload this may be the function of a module that is no longer there.
    make = import_module(__name__).rebuilt
    return make, (names_of(type(error)), travelling(error.args)), travelling(_state(error))


def rebuilt(names: Names, args: tuple[Any, ...]) -> BaseException:
    """An exception of the class with these names, made without its `__init__`."""
    kind = _find(names) or Exception
    error: BaseException = kind.__new__(kind, *args)
    error.args = args
    return error


def names_of(kind: type[BaseException]) -> Names:
    """The names of the class, or of the nearest class below it that can be found by its names."""
    bases = [base for base in kind.__mro__ if issubclass(base, BaseException)]
    found = ((base.__module__, base.__qualname__) for base in bases)
    return next(names for names in found if _find(names) is not None)


def travelling(value: Any) -> Any:
    """The value if it can be pickled and read again, else what goes in its place."""
    if type(value) in PLAIN:
        return value
    if type(value) in (list, tuple):
        return type(value)(map(travelling, value))
    if type(value) is dict:
        return {travelling(key): travelling(below) for key, below in value.items()}
    if _arrives(value):
        return value
    return _in_place_of(value) if isinstance(value, BaseException) else _repr(value)


def _state(error: BaseException) -> dict[str, Any]:
    state = dict(error.__dict__)
    if error.__cause__ is not None:
        state["__cause__"] = error.__cause__
    state["__suppress_context__"] = error.__suppress_context__  # behind the cause, which sets it
    return state


def _find(names: Names) -> Any:
    module, path = names
    with suppress(ImportError, AttributeError):
        found: Any = import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        return found
    return None


def _arrives(value: Any) -> bool:
    try:
        twin = pickle.loads(pickle.dumps(value))
        # Some classes take their own message for something else, and say another thing on arrival.
        return not isinstance(value, BaseException) or str(twin) == str(value)
    except Exception:  # whatever a class of somebody else's raises here, it does not arrive
        return False


def _in_place_of(error: BaseException) -> StandIn:
    status_code = getattr(error, "status_code", None)
    return stand_in(type(error).__name__, _text(error), status_code if type(status_code) is int else None)


def _text(error: BaseException) -> str:
    try:
        return str(getattr(error, "message", None) or error)
    except Exception:
        return _repr(error)


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return object.__repr__(value)
