"""Checks that ONNX Runtime computes f16 and 8-bit networks as `slimclr` does, the latter by 8-bit operations.

Arguments: `[EXPECTED.safetensors NETWORK.onnx]...`; for EXPECTED, see exports.py.
"""

import collections
import os
import sys
import tempfile

import onnx
import onnxruntime
from safetensors.numpy import load_file

from compare import compare

# A number halfway between two 8-bit ones may be rounded to either; f16 is rounded after each operation.
TOLERANCES = {"f16": 5e-3, "int8": 2e-2}


def optimised(path):
    """Returns how often each operation is in the network that ONNX Runtime makes of a file, and its session."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = os.path.join(folder, "optimised.onnx")
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options)
        nodes = onnx.load(options.optimized_model_filepath).graph.node
    return collections.Counter(node.op_type for node in nodes), session


for expected, path in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
    onnx.checker.check_model(onnx.load(path), full_check=True)
    precision = path.removesuffix(".onnx").rsplit("-", 1)[1]
    expected = load_file(expected)
    operations, session = optimised(path)
    if precision == "int8" and (operations["Conv"] or not operations["QLinearConv"]):
        sys.exit(f"{path}: ONNX Runtime does not convolve in 8 bits: {operations}")
    names = [output.name for output in session.get_outputs()]
    for name, found in zip(names, session.run(None, {"images": expected["images"]})):
        compare(f"{os.path.basename(path)}: {name}", found, expected[name], TOLERANCES[precision])
