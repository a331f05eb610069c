"""One connection to a server: connecting, sending, receiving and closing."""
