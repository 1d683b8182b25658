"""Compares the outputs of `slimclr export`'s files with those of the program itself.

    check_export.py [EXPECTED.safetensors CARD.json]...

Each EXPECTED holds `images`, `[batch, 3, height, width]`, and the network's `features`, and `logits` if it has a classifier.
The networks are loaded by the code in the model card.
"""

import hashlib
import json
import os
import sys

import onnx
from safetensors.numpy import load_file

from compare import compare


def check_files(card):
    for file in card["files"]:
        with open(file["name"], "rb") as opened:
            contents = opened.read()
        if len(contents) != file["bytes"] or hashlib.sha256(contents).hexdigest() != file["sha256"]:
            sys.exit(f"{file['name']}: size or SHA-256 differs from the card")


def check_onnx(card, expected):
    path = f"{card['name']}.onnx"
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    for key, value in (("width", card["width"]), *card["input"]["normalisation"].items()):
        if json.loads(properties[key]) != value:
            sys.exit(f"{path}: {key} is {properties[key]} instead of the card's {value}")
    batch = len(expected["images"])
    # The batch size is variable.
    for count in (batch, 1):
        names = {"images": expected["images"][:count]}
        exec("\n".join(card["loading"]["onnxruntime"]), names)
        for output in card["outputs"]:
            compare(f"ONNX Runtime's {output} of {count} images", names[output], expected[output][:count])


def check_torchvision(card, expected):
    import torch

    names = {"images": torch.from_numpy(expected["images"])}
    with torch.no_grad():
        exec("\n".join(card["loading"]["torchvision"]), names)
    for output in card["outputs"]:
        if output in names:
            compare(f"torchvision's {output}", names[output].numpy(), expected[output])
    weights = {name: torch.from_numpy(values) for name, values in load_file(f"{card['name']}.safetensors").items()}
    keys = names["network"].load_state_dict(weights, strict=False)
    # num_batches_tracked has no effect on outputs.
    missing = [name for name in keys.missing_keys if not name.endswith("num_batches_tracked")]
    if missing or keys.unexpected_keys:
        sys.exit(f"missing in torchvision's state dict: {missing}; unexpected: {keys.unexpected_keys}")


def check(expected, card):
    expected = load_file(expected)
    # The card's code names files relative to its folder.
    os.chdir(os.path.dirname(card))
    with open(card) as file:
        card = json.load(file)
    print(card["name"])
    check_files(card)
    check_onnx(card, expected)
    if "torchvision" in card["loading"]:
        check_torchvision(card, expected)


def main():
    paths = [os.path.abspath(path) for path in sys.argv[1:]]
    for expected, card in zip(paths[::2], paths[1::2], strict=True):
        check(expected, card)


main()
