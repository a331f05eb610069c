"""Leases of connections: `Pool`, `AsyncPool`, and the state machine behind them."""
