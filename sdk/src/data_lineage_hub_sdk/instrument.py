"""Watching calls of a function without changing what it does.

`watch_calls` wraps a function of any sort: plain, async, generator, async generator, class or static method. The
wrapper is of the same sort, so that frameworks which look at functions see no difference. Observers are told of the
beginning and the end of each call; what goes wrong in an observer stays there.

Decorating a function twice makes one wrapper with two observers: a span and a run of the same call know each other, and
a traceback has one more frame, not two.
"""

from __future__ import annotations

import functools
import inspect
import logging
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

log = logging.getLogger(__name__)

Arguments = tuple[Any, ...]
Function = TypeVar("Function", bound="Callable[..., Any] | classmethod[Any, Any, Any] | staticmethod[Any, Any]")


class Observation(Protocol):
    """One call under observation."""

    def resume(self) -> None:
        """Become what is current in this context: the call's own code runs from here."""

    def suspend(self) -> None:
        """Give the context back what was current before."""

    def start(self) -> None:
        """Tell that the call begins; all its observations have begun, and are current."""

    def end(self, error: BaseException | None) -> None:
        """Take note of how the call ended."""


class Observer(Protocol):
    """Observes the calls of one function.

    Attributes:
        rank: the observer of a lower rank begins earlier.
    """

    rank: int

    def begin(self, args: Arguments, kwargs: Mapping[str, Any]) -> Observation | None:
        """Begin to observe a call; None if there is nothing to observe."""


class _Watch:
    """The observations of one call."""

    __slots__ = ("_observations",)

    def __init__(self, observers: Sequence[Observer], args: Arguments, kwargs: Mapping[str, Any]) -> None:
        """Begin the observations; each is current from here on."""
        self._observations: list[Observation] = []
        for observer in observers:
            try:
                observation = observer.begin(args, kwargs)
                if observation is not None:
                    observation.resume()
                    self._observations.append(observation)
            except Exception:
                log.exception("a call is not observed")
        for observation in self._observations:
            try:
                observation.start()
            except Exception:
                log.exception("the beginning of a call is not observed")

    def resume(self) -> None:
        for observation in self._observations:
            try:
                observation.resume()
            except Exception:
                log.exception("a call is not observed completely")

    def suspend(self) -> None:
        for observation in reversed(self._observations):
            try:
                observation.suspend()
            except Exception:
                log.exception("a call is not observed completely")

    def end(self, error: BaseException | None = None) -> None:
        for observation in reversed(self._observations):
            try:
                observation.end(error)
            except Exception:
                log.exception("the end of a call is not observed")

    def leave(self, error: BaseException | None = None) -> None:
        self.suspend()
        self.end(error)


# The wrappers of this module. Not an attribute of theirs: another decorator's wrapper would inherit it.
_watched: weakref.WeakKeyDictionary[Callable[..., Any], tuple[Callable[..., Any], Sequence[Observer]]]
_watched = weakref.WeakKeyDictionary()


def watch_calls(function: Any, make_observer: Callable[[Callable[..., Any]], Observer]) -> Any:
    """Return a function that does what `function` does, and is observed.

    Args:
        function: a function, method, class or static method, or another callable; `__wrapped__` of the result.
        make_observer: gets the plain function.

    Raises:
        TypeError: it is a class, or can't be called.
    """
    if isinstance(function, (classmethod, staticmethod)):
        return type(function)(watch_calls(function.__func__, make_observer))
    if inspect.isclass(function):
        raise TypeError(f"{function.__name__} is a class: decorate its methods")
    if not callable(function):
        raise TypeError(f"{function!r} is no function")
    plain, observers = _watched.get(function, (function, ())) if inspect.isfunction(function) else (function, ())
    observers = sorted([make_observer(plain), *observers], key=lambda observer: observer.rank)
    wrapper = _wrapper_for(plain)(plain, observers)
    _watched[wrapper] = (plain, observers)
    return wrapper


def without_partial(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that a `functools.partial` calls, or the function itself."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _wrapper_for(function: Callable[..., Any]) -> Callable[..., Any]:
    actual = without_partial(function)
    if inspect.isasyncgenfunction(actual):
        return _async_generator
    if inspect.isgeneratorfunction(actual):
        return _generator
    return _async if inspect.iscoroutinefunction(actual) else _plain


def _plain(function: Callable[..., Any], observers: Sequence[Observer]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        watch = _Watch(observers, args, kwargs)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            watch.leave(error)
            raise
        watch.leave()
        return result

    return wrapper


def _async(function: Callable[..., Any], observers: Sequence[Observer]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        watch = _Watch(observers, args, kwargs)
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            watch.leave(error)
            raise
        watch.leave()
        return result

    return wrapper


def _generator(function: Callable[..., Any], observers: Sequence[Observer]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        generator = function(*args, **kwargs)
        watch = _Watch(observers, args, kwargs)
        step: Callable[..., Any] = generator.send
        given: Any = None
        while True:
            try:
                item = step(given)
            except StopIteration as stop:
                watch.leave()
                return stop.value
            except BaseException as error:
                watch.leave(error)
                raise
            watch.suspend()  # whoever consumes it is no part of the run
            try:
                step, given = generator.send, (yield item)
            except GeneratorExit as left:
                _close(generator, watch, left)
                raise
            except BaseException as error:
                step, given = generator.throw, error
            watch.resume()

    return wrapper


def _close(generator: Generator[Any, Any, Any], watch: _Watch, left: GeneratorExit) -> None:
    watch.resume()
    try:
        generator.close()
    except BaseException as error:
        watch.leave(error)
        raise
    watch.leave(left)


def _async_generator(function: Callable[..., Any], observers: Sequence[Observer]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        generator = function(*args, **kwargs)
        watch = _Watch(observers, args, kwargs)
        step: Callable[..., Any] = generator.asend
        given: Any = None
        while True:
            try:
                item = await step(given)
            except StopAsyncIteration:
                watch.leave()
                return
            except BaseException as error:
                watch.leave(error)
                raise
            watch.suspend()
            try:
                step, given = generator.asend, (yield item)
            except GeneratorExit as left:
                await _aclose(generator, watch, left)
                raise
            except BaseException as error:
                step, given = generator.athrow, error
            watch.resume()

    return wrapper


async def _aclose(generator: AsyncGenerator[Any, Any], watch: _Watch, left: GeneratorExit) -> None:
    watch.resume()
    try:
        await generator.aclose()
    except BaseException as error:
        watch.leave(error)
        raise
    watch.leave(left)
