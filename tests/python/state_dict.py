"""Writes a checkpoint as training programs do, and the expected tensors of its state dict.

    state_dict.py CHECKPOINT.pth EXPECTED.safetensors
"""

import sys

import torch
from safetensors.torch import save_file


def main():
    checkpoint, expected = sys.argv[1:]
    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network[2](torch.ones(1, 4)).sum().backward()
    optimizer.step()
    state = network.state_dict()
    state["half"] = torch.randn(3, 2).half()
    state["bfloat16"] = torch.randn(5).bfloat16()
    state["double"] = torch.randn(2, 2, dtype=torch.float64)
    state["transposed"] = torch.arange(6.0).reshape(2, 3).T
    state["column"] = torch.arange(6.0).reshape(2, 3)[:, 1]
    state["scalar"] = torch.tensor(0.5)
    state["parameter"] = torch.nn.Parameter(torch.randn(4))
    # A reader must skip other entries: plain values, an optimiser's state, objects.
    others = {"epoch": 7, "best": 0.5, "optimizer": optimizer.state_dict(), "seed": 2**70, "device": torch.device("cpu")}
    torch.save({**others, "state_dict": state, "network": network, "tags": {"a"}}, checkpoint)
    floats = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    save_file({name: tensor.detach().float().contiguous() for name, tensor in floats.items()}, expected)


main()
