"""Adapters that put dugong below other HTTP libraries. Each module imports its host library."""
