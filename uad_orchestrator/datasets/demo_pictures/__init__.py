"""The painters of the demo set's categories, one file each.

Everything is made of operations whose results IEEE 754 fixes to the last bit (+ - * / sqrt, comparisons,
rounding) and of raw random bits, so the same seed gives the same bytes on every machine. No sine, no
exponential, no sum over many floats, no library filter: those differ between processors and versions.
"""
