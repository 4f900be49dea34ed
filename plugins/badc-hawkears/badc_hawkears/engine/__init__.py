"""What HawkEars computes, chunk by chunk: frame scores on the grid of the whole recording.

`grid`, `place` and `frames` are arithmetic and need no torch; `model`, `spectra` and `chunks` run where HawkEars is.
"""
