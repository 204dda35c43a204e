"""Compiled kernels and quadratures: arrays in, arrays out; nothing here knows a class of mfpde or a file."""
