"""HTTP/1.1 without I/O: bytes and end of stream in, messages and bytes out."""
