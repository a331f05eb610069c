"""Adapters: dugong's connections for programs that use another library.

Each module is for one library, which it imports. Nothing else in the package does.
"""
