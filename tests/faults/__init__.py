"""A proxy that breaks connections, and what has to come of it, for `tests.test_faults`."""
