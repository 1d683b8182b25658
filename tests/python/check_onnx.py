"""Checks that ONNX Runtime computes the same outputs from exports as `slimclr`. For the arguments, see exports.py.

The networks are loaded with the lines of Python that their cards give.
"""

import hashlib
import json
import sys

import onnx

from compare import compare
from exports import exports


def check_files(card):
    for file in card["files"]:
        with open(file["name"], "rb") as opened:
            contents = opened.read()
        if len(contents) != file["bytes"] or hashlib.sha256(contents).hexdigest() != file["sha256"]:
            sys.exit(f"{file['name']} differs from its entry in the card")


def check_onnx(card, expected):
    path = f"{card['name']}.onnx"
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    preprocessing = {key: card["input"]["preprocessing"][key] for key in ("resize", "crop")}
    for key, value in {"width": card["width"], **card["input"]["normalisation"], **preprocessing}.items():
        if json.loads(properties[key]) != value:
            sys.exit(f"{path}: {key} is {properties[key]}, but {value} in the card")
    # Any batch size must work.
    for count in (len(expected["images"]), 1):
        names = {"images": expected["images"][:count]}
        exec("\n".join(card["loading"]["onnxruntime"]), names)
        for output in card["outputs"]:
            compare(f"ONNX Runtime's {output} of {count} images", names[output], expected[output][:count])


for card, expected in exports():
    check_files(card)
    check_onnx(card, expected)
