"""Writes the checkpoint that the authors' code would, with the parameters of a parity case.

    authors_checkpoint.py CASE.json CHECKPOINT.pth
"""

import json
import sys
from collections import OrderedDict

import torch

from fill import fill


def encoder(params, salt):
    """A slimmable encoder's state dict, with the counter that PyTorch adds to every norm."""
    state = OrderedDict()
    for name, shape in params.items():
        state[name] = torch.from_numpy(fill(name, shape, salt))
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
