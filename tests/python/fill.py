"""Generated tensors, as described in ../fixtures/parity/README.md."""

import math

import numpy


def fill(name, shape, salt):
    """The tensor `name`: an input, or the parameter of this name in the authors' state dict."""
    state = 0xCBF29CE484222325
    for byte in (salt + name).encode():
        state = (state ^ byte) * 0x100000001B3 % 2**64
    # NumPy's unsigned integers wrap around, as SplitMix64 needs.
    z = numpy.uint64(state) + numpy.arange(1, math.prod(shape) + 1, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    u = ((z ^ (z >> numpy.uint64(31))) >> numpy.uint64(40)) / 2**24
    s = 2 * u - 1
    if name == "input":
        values = 1.7 * s
    elif name.endswith("running_mean"):
        values = 0.25 * s
    elif name.endswith("running_var"):
        values = 1 + 0.5 * u
    elif len(shape) > 1:
        values = s * math.sqrt(3 / math.prod(shape[1:]))
    elif name.endswith("weight"):
        values = 1 + 0.25 * s
    else:
        values = 0.25 * s
    return values.astype(numpy.float32).reshape(shape)
