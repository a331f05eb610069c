"""A program that uses the library as the documentation shows it, for type checkers.

mypy and pyright (both strict) must accept `idioms`; ``make check`` runs them. `tests.test_types`
runs the program, so that what they accept is what works.
"""
