"""The exports that a program checks: its arguments are `[EXPECTED.safetensors CARD.json]...`.

EXPECTED has `images`, `[batch, 3, height, width]`, and slimclr's outputs for them: `features` and, for a classifier,
`logits`.
"""

import json
import os
import sys

from safetensors.numpy import load_file


def exports():
    """Yields the card of each export and the expected tensors."""
    paths = [os.path.abspath(path) for path in sys.argv[1:]]
    for expected, path in zip(paths[::2], paths[1::2], strict=True):
        # The lines that a card gives for loading expect to run in its folder.
        os.chdir(os.path.dirname(path))
        with open(path) as file:
            card = json.load(file)
        print(card["name"])
        yield card, load_file(expected)
