"""LiteLLM's exceptions on their way to another process.

Most of them cannot be unpickled, since their classes take more than a message, and some hold the request
with the key in its headers. The classes are not ours to change; `copyreg` is Python's way to say how the
objects of such a class are pickled and copied.
"""

from __future__ import annotations

import copyreg
from importlib import import_module
from typing import Any

from composite_lab import travel

LIBRARIES = {"litellm", "openai", "httpx"}
NOT_KEPT = {"content-encoding", "transfer-encoding", "content-length", "set-cookie"}
"""Headers of an answer that say something of a body which does not travel, or of a session."""
LINKS = 16
"""How many causes behind an error are made portable; a chain may be a circle."""


def make_portable(error: BaseException) -> None:
    """Have pickle and copy bring exceptions of this class, and of those behind it, to another process.

    From then on in the whole process. Does nothing to classes of other libraries, and to those that have
    a way of their own.
    """
    link: BaseException | None = error
    for _ in range(LINKS):
        if link is None:
            return
        _register(type(link))
        link = link.__cause__ or link.__context__


def rebuilt(names: travel.Names, args: tuple[Any, ...]) -> BaseException:
    """The exception at its arrival, ready to travel on."""
    error = travel.rebuilt(names, args)
    make_portable(error)
    return error


def _register(kind: type[BaseException]) -> None:
    registered = copyreg.dispatch_table.get(kind)
    # Dask has tblib register every class of exceptions there is, for their tracebacks.
    if registered is not None and registered.__module__.partition(".")[0] != "tblib":
        return
    if issubclass(kind, travel.Travels):
        copyreg.dispatch_table.pop(kind, None)
    elif kind.__module__.partition(".")[0] in LIBRARIES and kind.__reduce__ is BaseException.__reduce__:
        copyreg.pickle(kind, _reduced)


def _reduced(error: BaseException) -> tuple[Any, ...]:
    state = {name: _bare(value) for name, value in error.__dict__.items()}
    make = import_module(__name__).rebuilt
    return make, (travel.names_of(type(error)), travel.travelling(error.args)), travel.travelling(state)


def _bare(value: Any) -> Any:
    """An HTTP request without headers, body and query, which may hold a key; an answer without its body."""
    if type(value).__module__.partition(".")[0] != "httpx":
        return value
    if hasattr(value, "status_code"):
        headers = {name: text for name, text in value.headers.items() if name.lower() not in NOT_KEPT}
        request = getattr(value, "_request", None)
        return type(value)(value.status_code, headers=headers, request=_bare(request))
    if hasattr(value, "method"):
        return type(value)(value.method, value.url.copy_with(query=None, username=None, password=None))
    return value
