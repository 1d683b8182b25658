"""Writes a checkpoint in the layout of the authors' code, with the parameters of a parity case.

    authors_checkpoint.py CASE.json CHECKPOINT.pth
"""

import json
import sys
from collections import OrderedDict

import torch

from fill import fill


def encoder(params, salt):
    """Returns a slimmable encoder's state dict, with the num_batches_tracked that PyTorch adds to every norm."""
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
    # The momentum encoder gets other values, so that a mix-up of the two shows.
    for prefix, salt in (("encoder_q", case["salt"]), ("encoder_k", "momentum/")):
        for name, tensor in encoder(case["params"], salt).items():
            state[f"module.{prefix}.{name}"] = tensor
    state["module.queue"] = torch.nn.functional.normalize(torch.randn(case["out_dim"], 64), dim=0)
    state["module.queue_ptr"] = torch.zeros(1, dtype=torch.long)
    # The optimiser's state of one parameter, which a reader must skip.
    weight = torch.nn.Parameter(state["module.encoder_q.conv1.weight"].clone())
    optimizer = torch.optim.SGD([weight], lr=0.06, momentum=0.9, weight_decay=5e-4)
    weight.sum().backward()
    optimizer.step()
    torch.save(
        {"epoch": 1, "arch": "s_resnet", "state_dict": state, "best_acc1": 0.0, "optimizer": optimizer.state_dict()},
        checkpoint,
    )


main()
