"""Writes files as PyTorch and the authors' code save them, of networks that are small enough to commit.

    fixtures.py ../fixtures/pytorch [--complete]

`--complete` also writes the large files, whose names and shapes alone are committed. The committed files are of PyTorch 2.15:

- `state_dict.pth`: a state dict among other values, with tensors of every floating-point type and with views, in the
  format since PyTorch 1.6; `state_dict-legacy.pth` in the format before; `state_dict.safetensors` has the same tensors in
  32 bits.
- `mocov2.pth.tar`, `switch.pth.tar`: the authors' checkpoints of a CIFAR ResNet-8 of widths 1.0 and 0.5, whose
  parameters `fill` generates with the salt `fixture/`.
- `lightning.ckpt`: torchvision's ResNet-18 with a 64th of its channels, in Lightning's layout, compiled and wrapped;
  `resnet50.safetensors`: torchvision's ResNet-50 so, in 16 bits; `features.safetensors`: the features of both for the input of
  `fill` with the salt `fixture/`, in evaluation mode.
- what `published.py` says.
"""

import os
import sys

import torch
from safetensors.torch import save_file

from authors_checkpoint import encoder, save, save_mocov2
from fill import fill
from networks import OUTPUTS, NarrowResNet, filled
from published import save_published

SALT = "fixture/"
WIDTHS = (1.0, 0.5)
CHANNELS = (2, 4, 8)  # of the stages


def save_state_dict(folder):
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
    # Values that a reader must skip: plain ones, an optimizer's state, descriptions of tensors.
    others = {"epoch": 7, "best": 0.5, "seed": 2**70, "device": torch.device("cpu"), "dtype": torch.float16, "tags": {"a"}}
    root = {**others, "optimizer": optimizer.state_dict(), "state_dict": state}
    torch.save(root, os.path.join(folder, "state_dict.pth"))
    legacy = os.path.join(folder, "state_dict-legacy.pth")
    torch.save(root, legacy, _use_new_zipfile_serialization=False)
    floats = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    save_file(
        {name: tensor.detach().float().contiguous() for name, tensor in floats.items()},
        os.path.join(folder, "state_dict.safetensors"),
    )


def backbone():
    """The shapes of a CIFAR ResNet-8's parameters, by the names that the authors' code gives them."""

    def conv(name, outputs, inputs, kernel):
        shapes[f"{name}.weight"] = [outputs, inputs, kernel, kernel]

    def norm(name, channels):
        for index, width in enumerate(WIDTHS):
            for tensor in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{name}.bn.{index}.{tensor}"] = [int(channels * width)]

    shapes = {}
    inputs = CHANNELS[0]
    conv("conv1", inputs, 3, 3)
    norm("bn1", inputs)
    for index, outputs in enumerate(CHANNELS):
        block = f"features.{index}"
        conv(f"{block}.conv1", outputs, inputs, 3)
        norm(f"{block}.bn1", outputs)
        conv(f"{block}.conv2", outputs, outputs, 3)
        norm(f"{block}.bn2", outputs)
        if inputs != outputs:
            conv(f"{block}.shortcut.0", outputs, inputs, 1)
            norm(f"{block}.shortcut.1", outputs)
        inputs = outputs
    return shapes


def save_plain_networks(folder):
    resnet18, resnet50 = (filled(NarrowResNet(depth, 1), SALT) for depth in (18, 50))
    optimizer = torch.optim.SGD(resnet18.fc.parameters(), lr=0.1, momentum=0.9)
    resnet18.fc(torch.ones(1, 8)).sum().backward()
    optimizer.step()
    filled(resnet18, SALT)
    # The keys that Lightning writes, with values of their kinds.
    checkpoint = {
        "epoch": 3,
        "global_step": 128,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {f"model._orig_mod.{name}": value for name, value in resnet18.state_dict().items()},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 4, "completed": 3}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": torch.tensor(0.5), "kth_value": None}},
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [{"last_epoch": 3, "_last_lr": [0.1]}],
        "hparams_name": "kwargs",
        "hyper_parameters": {"learning_rate": 0.1, "arch": "resnet18", "widths": (1.0,)},
    }
    torch.save(checkpoint, os.path.join(folder, "lightning.ckpt"))
    half = {name: value.half() if value.is_floating_point() else value for name, value in resnet50.state_dict().items()}
    save_file(half, os.path.join(folder, "resnet50.safetensors"))
    resnet50.load_state_dict(half)
    images = torch.from_numpy(fill("input", [2, 3, 64, 64], SALT))
    with torch.no_grad():
        features = {"resnet18": resnet18.pooled(images), "resnet50": resnet50.pooled(images)}
    save_file(features, os.path.join(folder, "features.safetensors"))


def linear(name, outputs, inputs):
    return {f"{name}.weight": [outputs, inputs], f"{name}.bias": [outputs]}


def main():
    folder, *options = sys.argv[1:]
    torch.manual_seed(1)
    save_state_dict(folder)
    features = CHANNELS[-1]
    head = linear("fc.0", features, features) | linear("fc.2", OUTPUTS, features)
    save_mocov2(backbone() | head, SALT, OUTPUTS, os.path.join(folder, "mocov2.pth.tar"))
    classifiers = {}
    for index, width in enumerate(WIDTHS):
        classifiers |= linear(f"fc.linears.{index}", OUTPUTS, int(features * width))
    state = encoder(backbone() | classifiers, SALT, "module.")
    save(state, "module.conv1.weight", os.path.join(folder, "switch.pth.tar"))
    save_plain_networks(folder)
    save_published(folder, SALT, "--complete" in options)


main()
