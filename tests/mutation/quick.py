"""A pytest plugin for runs of mutants: few examples, the same in every run."""

from collections.abc import Iterable
from typing import Any
from unittest import TestCase

from hypothesis import HealthCheck, Phase, settings

_QUICK: dict[str, Any] = {
    "max_examples": 20,
    "derandomize": True,
    "database": None,
    "deadline": None,
    "phases": [Phase.explicit, Phase.generate],  # a failure needs no smaller example
    "suppress_health_check": list(HealthCheck),
}


def pytest_collection_modifyitems(items: Iterable[Any]) -> None:
    """Replaces the settings after tests/conftest.py and the test modules chose theirs."""
    settings.register_profile("mutants", **_QUICK)
    settings.load_profile("mutants")
    for item in items:
        if hasattr(item.module, "RUN"):  # of tests/simulation
            item.module.RUN = settings(item.module.RUN, **_QUICK)
        if issubclass(getattr(item, "cls", None) or object, TestCase) and hasattr(item.cls, "settings"):
            item.cls.settings = settings(item.cls.settings, **_QUICK)  # a state machine of Hypothesis
        if own := getattr(item.obj, "_hypothesis_internal_use_settings", None):
            item.function._hypothesis_internal_use_settings = settings(own, **_QUICK)
