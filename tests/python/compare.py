"""Comparison of arrays, relative to the norm of the expected one."""

import sys

import numpy

TOLERANCE = 1e-5


def compare(what, found, expected, tolerance=TOLERANCE):
    """Ends the program unless two arrays agree."""
    if found.shape != expected.shape:
        sys.exit(f"{what}: shape {list(found.shape)} instead of {list(expected.shape)}")
    difference = numpy.linalg.norm(found - expected) / numpy.linalg.norm(expected)
    print(f"{what}: relative difference {difference:.1e}")
    if not difference <= tolerance:
        sys.exit(f"{what}: relative difference {difference:.1e}, at most {tolerance:.0e} is allowed")
