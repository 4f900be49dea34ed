"""A stand-in for a heavy library."""
