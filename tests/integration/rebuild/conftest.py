"""The pipeline of a projector's test, which a rebuild compares."""

from tests.integration.projector.conftest import pipeline

__all__ = ["pipeline"]
