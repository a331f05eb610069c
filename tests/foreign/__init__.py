"""The test suites of other libraries, run with our adapters in place of what these replace.

``make foreign`` runs them. They come from source distributions on the package index, so nothing of
them is in this repository. `run` has the suites and the exceptions.
"""
