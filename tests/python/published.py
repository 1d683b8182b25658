"""Writes files as the code of other methods saves them: the keys, names and heads are theirs, the networks are narrow.

`published.safetensors` has what PyTorch computes from them, for the input of `fill`: `FILE/BRANCH/features`, `/outputs` of
the head, `/scores` of SwAV's prototypes and `/VIEW` of SimDis' predictors. The values of a network are those of `fill` with
the salt `fixture/BRANCH/`. Networks that have no narrow form are large; `shapes.json` has the names and shapes of their
state dicts.
"""

import json
import os

import torch
from safetensors.torch import save_file
from torch import nn

from fill import fill
from networks import OUTPUTS, EfficientNet, MobileNetV3, NarrowResNet, SwavResNet, filled, perceptron

HIDDEN = 12  # of the heads that choose it
PROTOTYPES = 6
KEYS = 16  # in the queues


def resnet18(hidden=None, normed=False, predictors=()):
    """A ResNet-18 with a head of `hidden` channels, as many as features by default."""
    network = NarrowResNet(18, 1)
    network.fc = perceptron(network.width, hidden or network.width, OUTPUTS, normed)
    for view in predictors:
        setattr(network, f"pred_{view}", perceptron(OUTPUTS, HIDDEN, OUTPUTS, normed=True))
    return network


def compress(one_queue):
    network = NarrowResNet(18, 1)
    network.fc = nn.Linear(network.width, 2 * network.width) if one_queue else nn.Sequential()
    return network


def swav(normed=True):
    return SwavResNet(18, 1, HIDDEN, PROTOTYPES, normed)


def simdis(*predictors):
    return resnet18(HIDDEN, normed=True, predictors=predictors)


def queues(*names):
    return {f"module.{name}": torch.randn(OUTPUTS, KEYS) for name in names} | {"module.queue_ptr": torch.zeros(1).long()}


# What the methods' programs save, given the state dict of all their networks.


def bare(state):
    return state


def training(state):
    return {"epoch": 100, "arch": "resnet18", "state_dict": state, "best_acc1": 0.0}


def moco(state):
    return training(state | queues("queue"))


def seed(state):
    return training(state | queues("queue", "small_queue"))


def model(state):
    return {"model": state, "start_epoch": 100}


# The form of each file, and its networks by the branch that each is; of a single one the branch is empty.
NARROW = {
    "moco.pth.tar": (moco, {"encoder_q": resnet18(), "encoder_k": resnet18()}),
    "swav.pth.tar": (bare, {"": swav()}),
    "swav-without-norm.pth.tar": (training, {"": swav(normed=False)}),
    "seed.pth.tar": (seed, {"student": resnet18(), "teacher": swav()}),
    "disco.pth.tar": (
        moco,
        {
            "encoder_q": resnet18(HIDDEN),
            "encoder_k": resnet18(HIDDEN),
            "teacher_encoder_q": resnet18(),
            "teacher_encoder_k": resnet18(),
        },
    ),
    "bingo.pth.tar": (moco, {"encoder_q": resnet18(HIDDEN), "encoder_k": resnet18(HIDDEN, normed=True)}),
    "compress.pth": (model, {"": compress(one_queue=False)}),
    "compress-one-queue.pth": (model, {"": compress(one_queue=True)}),
    "simdis.pth": (
        model,
        {
            "student": simdis("sema_dv", "tema_dv"),
            "student_ema": simdis(),
            "teacher": simdis("ttemadv"),
            "teacher_ema": simdis(),
        },
    ),
    "shi.pth.tar": (moco, {"encoder_q": resnet18(16)}),
}
# Students of SEED that have no narrow form, each of a file of its name.
LARGE = {
    "efficientnet_b0": EfficientNet(1.0, 224),
    "efficientnet_b1": EfficientNet(1.1, 240),
    "mobilenet_v3_large": MobileNetV3(),
}


def state_dict(networks):
    """The state dict of a wrapped module whose attributes are these networks."""
    state = {}
    for branch, network in networks.items():
        prefix = f"module.{branch}." if branch else "module."
        state |= {prefix + name: value for name, value in network.state_dict().items()}
    return state


def computed(name, network, images):
    """The tensors that a network computes, by their names."""
    with torch.no_grad():
        features = network.pooled(images)
        outputs = network.outputs(features)
        tensors = {f"{name}/features": features, f"{name}/outputs": outputs}
        if hasattr(network, "prototypes"):
            tensors[f"{name}/scores"] = network.prototypes(outputs)
        for attribute, predictor in network.named_children():
            if attribute.startswith("pred_"):
                tensors[f"{name}/{attribute.removeprefix('pred_')}"] = predictor(outputs)
    return {key: tensor.clone() for key, tensor in tensors.items()}


def save_published(folder, salt, complete):
    """Writes the files to `folder`; the large ones only if `complete`."""
    images = torch.from_numpy(fill("input", [2, 3, 64, 64], salt))
    tensors = {}
    for file, (form, networks) in NARROW.items():
        for branch, network in networks.items():
            tensors |= computed(f"{file}/{branch}", filled(network, f"{salt}{branch}/"), images)
        # In the format before PyTorch 1.6, which is smaller, and in which most of the published files are.
        path = os.path.join(folder, file)
        torch.save(form(state_dict(networks)), path, _use_new_zipfile_serialization=False)
    shapes = {}
    for name, network in LARGE.items():
        file = f"{name}.pth.tar"
        tensors |= computed(f"{file}/student", filled(network, f"{salt}student/"), images)
        shapes[name] = {key: list(value.shape) for key, value in network.state_dict().items()}
        if complete:
            networks = {"student": network, "teacher": resnet18()}
            torch.save(seed(state_dict(networks)), os.path.join(folder, file))
    save_file(tensors, os.path.join(folder, "published.safetensors"))
    with open(os.path.join(folder, "shapes.json"), "w") as opened:
        json.dump(shapes, opened, separators=(",", ":"))
