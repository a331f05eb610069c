"""Waiting for coroutines in asyncio and trio."""
