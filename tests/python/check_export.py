"""Checks exports of `slimclr export` against what the program itself computes.

    check_export.py [EXPECTED.safetensors CARD.json]...

Each EXPECTED holds `images`, `[batch, 3, height, width]`, and the network's `features` and perhaps `logits` for them. The
networks are loaded by the very lines that the card gives.
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
            sys.exit(f"{file['name']} is not the file that the card describes")


def check_onnx(card, expected):
    path = f"{card['name']}.onnx"
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    for key, value in (("width", card["width"]), *card["input"]["normalisation"].items()):
        if json.loads(properties[key]) != value:
            sys.exit(f"{path}: {key} is {properties[key]}, but {value} in the card")
    batch = len(expected["images"])
    # The batch is free.
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
    # PyTorch's norms count the batches they have seen, of which nothing depends.
    missing = [name for name in keys.missing_keys if not name.endswith("num_batches_tracked")]
    if missing or keys.unexpected_keys:
        sys.exit(f"torchvision misses {missing} and does not know {keys.unexpected_keys}")


def check(expected, card):
    expected = load_file(expected)
    # The card's lines name files as they lie beside it.
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
