"""Checks exports of an authors' checkpoint against the outputs of the authors' code.

    check_authors.py CASE.json CARD.json...

CASE is the parity case that has the checkpoint's parameters and the expected outputs.
"""

import json
import sys

import numpy
import onnxruntime

from compare import compare
from fill import fill


def mocov2_head(case, features):
    """MoCo v2's head, which exports lack, at the width of the features."""
    names = ("fc.0.weight", "fc.0.bias", "fc.2.weight", "fc.2.bias")
    fc = {name: fill(name, case["params"][name], case["salt"]) for name in names}
    width = features.shape[1]
    hidden = features @ fc["fc.0.weight"][:width, :width].T + fc["fc.0.bias"][:width]
    return numpy.maximum(hidden, 0) @ fc["fc.2.weight"][:, :width].T + fc["fc.2.bias"]


def main():
    case_file, *cards = sys.argv[1:]
    with open(case_file) as file:
        case = json.load(file)
    images = fill("input", case["input"], case["salt"])
    for path in cards:
        with open(path) as file:
            card = json.load(file)
        network = onnxruntime.InferenceSession(path.removesuffix("json") + "onnx")
        outputs = dict(zip(card["outputs"], network.run(list(card["outputs"]), {"images": images})))
        found = outputs["logits"] if "logits" in outputs else mocov2_head(case, outputs["features"])
        expected = case["eval"][str(float(card["width"]))]
        expected = numpy.array(expected["data"]).reshape(expected["shape"])
        compare(card["name"], found, expected)


main()
