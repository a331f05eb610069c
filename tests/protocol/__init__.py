"""Unit tests of `dugong.protocol`: bytes and values, without any socket."""
