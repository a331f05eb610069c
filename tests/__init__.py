"""Tests of dugong: `python -m pytest` from the checkout runs them all."""
