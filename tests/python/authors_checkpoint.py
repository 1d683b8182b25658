"""Writes the checkpoint that the authors' code saves, with the parameters of a parity case.

    authors_checkpoint.py CASE.json CHECKPOINT.pth
"""

import json
import sys
from collections import OrderedDict

import torch

from fill import fill


def encoder(params, salt, prefix):
    """The state dict of a slimmable encoder, with the counters that PyTorch adds to its norms.

    `params` has the shape of each parameter by its name.
    """
    state = OrderedDict()
    counter = torch.tensor(1000)
    for name, shape in params.items():
        state[prefix + name] = torch.from_numpy(fill(name, shape, salt))
        if name.endswith("running_var"):
            state[prefix + name.removesuffix("running_var") + "num_batches_tracked"] = counter
    return state


def save(state, stem, path):
    """Saves a state dict as the authors' training program does."""
    # One parameter's optimizer state, which a reader has to skip.
    weight = torch.nn.Parameter(state[stem].clone())
    optimizer = torch.optim.SGD([weight], lr=0.06, momentum=0.9, weight_decay=5e-4)
    weight.sum().backward()
    optimizer.step()
    torch.save(
        {"epoch": 1, "arch": "s_resnet", "state_dict": state, "best_acc1": 0.0, "optimizer": optimizer.state_dict()},
        path,
    )


def save_mocov2(params, salt, out_dim, path):
    """Saves both encoders and the queue of MoCo v2."""
    state = encoder(params, salt, "module.encoder_q.")
    # Other values, so that a test sees when the momentum encoder is read instead.
    state.update(encoder(params, "momentum/", "module.encoder_k."))
    state["module.queue"] = torch.nn.functional.normalize(torch.randn(out_dim, 64), dim=0)
    state["module.queue_ptr"] = torch.zeros(1, dtype=torch.long)
    save(state, "module.encoder_q.conv1.weight", path)


def main():
    case_file, checkpoint = sys.argv[1:]
    with open(case_file) as file:
        case = json.load(file)
    save_mocov2(case["params"], case["salt"], case["out_dim"], checkpoint)


if __name__ == "__main__":
    main()
