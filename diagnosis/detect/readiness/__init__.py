"""Is this system ready for production: the ML Test Score, as measured."""

from diagnosis.detect.readiness.score import Line, Readiness, readiness

__all__ = ["Line", "Readiness", "readiness"]
