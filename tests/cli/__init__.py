"""Tests of the command `dugong`."""
