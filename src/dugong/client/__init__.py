"""The client: URLs and policies, decided without I/O."""
