"""Transfers: downloads that are resumed and verified, and uploads."""
