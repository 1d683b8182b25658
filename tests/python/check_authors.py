"""Compares exports of a checkpoint in the authors' layout with outputs of the authors' code.

    check_authors.py CASE.json CHECKPOINT.pth CARD.json...

CASE is the parity case with the checkpoint's parameters and the expected outputs.
"""

import json
import sys

import numpy
import onnxruntime
import torch

from compare import compare
from fill import fill


def head_of_mocov2(state, features):
    """Computes MoCo v2's head, which exports do not include, at the width of the features."""
    fc = {name: state[f"module.encoder_q.fc.{name}"].numpy() for name in ("0.weight", "0.bias", "2.weight", "2.bias")}
    width = features.shape[1]
    hidden = features @ fc["0.weight"][:width, :width].T + fc["0.bias"][:width]
    return numpy.maximum(hidden, 0) @ fc["2.weight"][:, :width].T + fc["2.bias"]


def main():
    case_file, checkpoint, *cards = sys.argv[1:]
    with open(case_file) as file:
        case = json.load(file)
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    images = fill("input", case["input"], case["salt"])
    for path in cards:
        with open(path) as file:
            card = json.load(file)
        network = onnxruntime.InferenceSession(path.removesuffix("json") + "onnx")
        outputs = dict(zip(card["outputs"], network.run(list(card["outputs"]), {"images": images})))
        found = outputs["logits"] if "logits" in outputs else head_of_mocov2(state, outputs["features"])
        expected = case["eval"][str(float(card["width"]))]
        expected = numpy.array(expected["data"]).reshape(expected["shape"])
        compare(card["name"], found, expected)


main()
