"""Comparison of arrays, relative to the expected one's norm."""

import sys

import numpy

ALLOWED = 1e-5


def compare(what, found, expected):
    """Ends the program unless two arrays agree."""
    if found.shape != expected.shape:
        sys.exit(f"{what}: shape {list(found.shape)} instead of {list(expected.shape)}")
    difference = numpy.linalg.norm(found - expected) / numpy.linalg.norm(expected)
    print(f"{what}: off by {difference:.1e}")
    if not difference <= ALLOWED:
        sys.exit(f"{what}: off by {difference:.1e}, allowed {ALLOWED:.0e}")
