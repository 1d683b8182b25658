"""Checks that torchvision computes the same outputs from exports as `slimclr`. For the arguments, see exports.py.

The networks are loaded with the lines of Python that their cards give.
"""

import sys

import torch
from safetensors.numpy import load_file

from compare import compare
from exports import exports


def check_torchvision(card, expected):
    names = {"images": torch.from_numpy(expected["images"])}
    with torch.no_grad():
        exec("\n".join(card["loading"]["torchvision"]), names)
    compared = [output for output in card["outputs"] if output in names]
    for output in compared:
        compare(f"torchvision's {output}", names[output].numpy(), expected[output])
    if not compared:
        sys.exit(f"{card['name']}: the card's lines compute none of its outputs")
    weights = {name: torch.from_numpy(values) for name, values in load_file(f"{card['name']}.safetensors").items()}
    keys = names["network"].load_state_dict(weights, strict=False)
    # Norms count the batches they have seen; nothing depends on it.
    missing = [name for name in keys.missing_keys if not name.endswith("num_batches_tracked")]
    if missing or keys.unexpected_keys:
        sys.exit(f"torchvision misses {missing} and does not know {keys.unexpected_keys}")


for card, expected in exports():
    check_torchvision(card, expected)
