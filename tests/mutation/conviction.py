"""Which failure convicts a planted mutant: only the assertion that its rule is about."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


def failures(error: BaseException) -> Iterator[str]:
    """Yields type, text and failed line of an error, or of each error in a group."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from failures(inner)
    else:
        line = traceback.extract_tb(error.__traceback__)[-1].line
        yield f"{type(error).__name__}: {error} in `{line}`"


@contextmanager
def convicted_by(*reasons: str) -> Iterator[None]:
    """Expects a failure with one of the reasons: a part of the failed assertion or of its text.

    Any other failure, a timeout for example, convicts nothing and is raised.
    """
    try:
        yield
    except (AssertionError, BaseExceptionGroup) as error:
        if any(reason in failure for failure in failures(error) for reason in reasons):
            return
        raise
    pytest.fail("the mutant is not found", pytrace=False)
