"""Writes the checkpoint that the authors' code would, with the parameters of a parity case.

    authors_checkpoint.py CASE.json CHECKPOINT.pth
"""

import json
import math
import sys
from collections import OrderedDict

import numpy
import torch


def fill(name, shape, salt):
    """A parameter as the parity folder's README generates it, of the kind that its name tells."""
    state = 0xCBF29CE484222325
    for byte in (salt + name).encode():
        state = (state ^ byte) * 0x100000001B3 % 2**64
    places = numpy.arange(1, math.prod(shape) + 1, dtype=numpy.uint64)
    # NumPy's unsigned integers wrap around, as SplitMix64 wants it.
    z = numpy.uint64(state) + places * numpy.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    u = ((z ^ (z >> numpy.uint64(31))) >> numpy.uint64(40)) / 2**24
    s = 2 * u - 1
    if name.endswith("running_mean"):
        values = 0.25 * s
    elif name.endswith("running_var"):
        values = 1 + 0.5 * u
    elif len(shape) > 1:
        values = s * math.sqrt(3 / math.prod(shape[1:]))
    elif name.endswith("weight"):
        values = 1 + 0.25 * s
    else:
        values = 0.25 * s
    return torch.from_numpy(values.astype(numpy.float32).reshape(shape))


def encoder(params, salt):
    """A slimmable encoder's state dict, with the counter that PyTorch adds to every norm."""
    state = OrderedDict()
    for name, shape in params.items():
        state[name] = fill(name, shape, salt)
        if name.endswith("running_var"):
            state[name.removesuffix("running_var") + "num_batches_tracked"] = torch.tensor(1000)
    return state


def main():
    case_file, checkpoint = sys.argv[1:]
    with open(case_file) as file:
        case = json.load(file)
    state = OrderedDict()
    # The momentum encoder has other values, lest one be taken for the other.
    for prefix, salt in (("encoder_q", case["salt"]), ("encoder_k", "momentum/")):
        for name, tensor in encoder(case["params"], salt).items():
            state[f"module.{prefix}.{name}"] = tensor
    state["module.queue"] = torch.nn.functional.normalize(torch.randn(case["out_dim"], 64), dim=0)
    state["module.queue_ptr"] = torch.zeros(1, dtype=torch.long)
    # One parameter's worth of an optimiser's state, which a reader has to pass over.
    weight = torch.nn.Parameter(state["module.encoder_q.conv1.weight"].clone())
    optimizer = torch.optim.SGD([weight], lr=0.06, momentum=0.9, weight_decay=5e-4)
    weight.sum().backward()
    optimizer.step()
    torch.save(
        {"epoch": 1, "arch": "s_resnet", "state_dict": state, "best_acc1": 0.0, "optimizer": optimizer.state_dict()},
        checkpoint,
    )


main()
