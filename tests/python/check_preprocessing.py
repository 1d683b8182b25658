"""Checks that pictures prepared by the lines of Python in a card have the features that `slimclr` computes of them.

    check_preprocessing.py EXPECTED.safetensors CARD.json PICTURE...

EXPECTED has slimclr's `images` of the pictures, `[batch, 3, height, width]`, and their `features`.
"""

import json
import os
import sys

import numpy
import PIL.Image
import torch
from safetensors.numpy import load_file

# Pillow rounds to 8 bits after each of its two passes; slimclr does not.
LEVELS = 1.01
FEATURES = 0.01


def relative(found, expected):
    return numpy.linalg.norm(found - expected) / numpy.linalg.norm(expected)


def main():
    expected, card_file, *files = [os.path.abspath(path) for path in sys.argv[1:]]
    os.chdir(os.path.dirname(card_file))
    with open(card_file) as file:
        card = json.load(file)
    expected = load_file(expected)
    names = {"files": files}
    exec("\n".join(card["loading"]["preprocessing"]), names)
    std = numpy.array(card["input"]["normalisation"]["std"]).reshape(3, 1, 1)
    levels = numpy.abs((names["images"] - expected["images"]) * std * 255).max()
    print(f"pixels differ by {levels:.2f} grey levels at most")
    if not levels <= LEVELS:
        sys.exit(f"pixels differ by {levels:.2f} grey levels, at most {LEVELS} are allowed")

    def features():
        with torch.no_grad():
            exec("\n".join(card["loading"]["torchvision"]), names)
        return names["features"].numpy()

    difference = relative(features(), expected["features"])
    # What would come of pictures that are only resized.
    side = card["input"]["preprocessing"]["crop"]
    resized = [numpy.asarray(PIL.Image.open(file).convert("RGB").resize((side, side))) / 255 for file in files]
    mean = card["input"]["normalisation"]["mean"]
    names["images"] = ((numpy.stack(resized) - mean) / std.ravel()).transpose(0, 3, 1, 2).astype("float32")
    other = relative(features(), expected["features"])
    print(f"features differ by {difference:.1e}; without the crop by {other:.1e}")
    if not difference <= FEATURES or not other > 10 * difference:
        sys.exit("the card's preprocessing is not that of the features")


main()
