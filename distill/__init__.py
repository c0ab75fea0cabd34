"""distill: from a reasoning teacher's traces to a small student that may be released."""

__version__ = "0.1.0"
