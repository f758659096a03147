"""Reproduce a recommender's request, check its inputs, find the cause, and prove it by replay."""

__version__ = "0.1.0"
