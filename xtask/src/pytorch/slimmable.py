"""Slimmable networks and SlimCLR-MoCov2's training step in plain PyTorch, to compare slimclr with.

The step is that of the `slimclr` program: a slimmable ResNet with switchable batch norm and MoCo v2's head, keys
from the momentum encoder at full width, InfoNCE over a queue, distillation from the full network, SGD.
"""

import copy
import itertools
import math
import sys

import torch
from torch import nn
from torch.nn import functional as F

DIM = 128  # of the embeddings
KEY_MOMENTUM = 0.99
TEMPERATURE = 0.2  # of InfoNCE
DISTILL_WEIGHT = 0.5
DISTILL_TEMPERATURE = 5.0  # the teacher's and the student's
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.06, 0.9, 5e-4


class SlimConv2d(nn.Conv2d):
    """A convolution that uses the leading slice of its weight for each width."""

    def __init__(self, inputs, outputs, kernel, stride):
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x, width):
        weight = self.weight[: math.floor(self.out_channels * width), : x.shape[1]]
        return F.conv2d(x, weight, None, self.stride, self.padding)


class SlimLinear(nn.Linear):
    """A linear layer that uses the leading slice of its weight for each width; all outputs unless `slim`."""

    def __init__(self, inputs, outputs, slim):
        super().__init__(inputs, outputs)
        self.slim = slim
        # As in `slimclr`: a normal distribution with the standard deviation of PyTorch's default.
        nn.init.normal_(self.weight, std=1.0 / math.sqrt(3 * inputs) if inputs < 2048 else 0.01)
        nn.init.zeros_(self.bias)

    def forward(self, x, width):
        outputs = math.floor(self.out_features * width) if self.slim else self.out_features
        return F.linear(x, self.weight[:outputs, : x.shape[1]], self.bias[:outputs])


class SwitchableBatchNorm2d(nn.ModuleDict):
    """One complete batch norm per width."""

    def __init__(self, channels, widths):
        super().__init__({name(width): nn.BatchNorm2d(math.floor(channels * width)) for width in widths})

    def forward(self, x, width):
        return self[name(width)](x)


def name(width):
    """A width as the name of a module, which must not have a dot."""
    return str(width).replace(".", "_")


class ConvNorm(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride, widths):
        super().__init__()
        self.conv = SlimConv2d(inputs, outputs, kernel, stride)
        self.norm = SwitchableBatchNorm2d(outputs, widths)

    def forward(self, x, width):
        return self.norm(self.conv(x, width), width)


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, widths):
        super().__init__()
        self.first = ConvNorm(inputs, outputs, 3, stride, widths)
        self.second = ConvNorm(outputs, outputs, 3, 1, widths)
        changes = stride != 1 or inputs != outputs
        self.shortcut = ConvNorm(inputs, outputs, 1, stride, widths) if changes else None

    def forward(self, x, width):
        # The authors' block has a ReLU before the sum too.
        inner = F.relu(self.second(F.relu(self.first(x, width)), width))
        outer = x if self.shortcut is None else self.shortcut(x, width)
        return F.relu(inner + outer)


class Bottleneck(nn.Module):
    """The bottleneck of ResNet v1.5: the 3x3 convolution has the stride, and the last norm starts at zero."""

    def __init__(self, inputs, middle, stride, widths):
        super().__init__()
        outputs = 4 * middle
        self.first = ConvNorm(inputs, middle, 1, 1, widths)
        self.second = ConvNorm(middle, middle, 3, stride, widths)
        self.third = ConvNorm(middle, outputs, 1, 1, widths)
        for norm in self.third.norm.values():
            nn.init.zeros_(norm.weight)
        changes = stride != 1 or inputs != outputs
        self.shortcut = ConvNorm(inputs, outputs, 1, stride, widths) if changes else None

    def forward(self, x, width):
        inner = F.relu(self.second(F.relu(self.first(x, width)), width))
        outer = x if self.shortcut is None else self.shortcut(x, width)
        return F.relu(self.third(inner, width) + outer)


class CifarResNet(nn.Module):
    """For small images: [n, 3, h, w] to features [n, 64]."""

    def __init__(self, depth, widths):
        super().__init__()
        self.stem = ConvNorm(3, 16, 3, 1, widths)
        self.blocks = nn.ModuleList()
        inputs = 16
        for stage, place in itertools.product(range(3), range((depth - 2) // 6)):
            outputs, stride = 16 << stage, 2 if stage > 0 and place == 0 else 1
            self.blocks.append(BasicBlock(inputs, outputs, stride, widths))
            inputs = outputs
        self.features = inputs

    def forward(self, x, width):
        x = F.relu(self.stem(x, width))
        for block in self.blocks:
            x = block(x, width)
        return x.mean(dim=(2, 3))


class ResNet50(nn.Module):
    """For ImageNet's images: [n, 3, h, w] to features [n, 2048]."""

    def __init__(self, widths):
        super().__init__()
        self.stem = ConvNorm(3, 64, 7, 2, widths)
        self.blocks = nn.ModuleList()
        inputs = 64
        for stage, count in enumerate([3, 4, 6, 3]):
            for place in range(count):
                stride = 2 if stage > 0 and place == 0 else 1
                self.blocks.append(Bottleneck(inputs, 64 << stage, stride, widths))
                inputs = 256 << stage
        self.features = inputs

    def forward(self, x, width):
        x = F.max_pool2d(F.relu(self.stem(x, width)), 3, stride=2, padding=1)
        for block in self.blocks:
            x = block(x, width)
        return x.mean(dim=(2, 3))


def build(backbone, depth, widths):
    """A backbone by its kind, as `slimclr` names it, and its depth."""
    if backbone == "resnet" and depth == 50:
        return ResNet50(widths)
    if backbone == "cifar" and depth >= 8 and depth % 6 == 2:
        return CifarResNet(depth, widths)
    sys.exit(f"no {backbone} of depth {depth} is implemented in PyTorch: use resnet of 50, or cifar of 6 n + 2")


class Encoder(nn.Module):
    """Backbone and head: [n, 3, h, w] to unit vectors [n, DIM]."""

    def __init__(self, backbone, depth, widths):
        super().__init__()
        self.backbone = build(backbone, depth, widths)
        features = self.backbone.features
        self.hidden = SlimLinear(features, features, slim=True)
        self.output = SlimLinear(features, DIM, slim=False)

    def forward(self, x, width):
        x = self.backbone(x, width)
        x = self.output(F.relu(self.hidden(x, width)), width)
        return F.normalize(x, dim=1)


def layout(channels_last):
    """The memory format of images."""
    return torch.channels_last if channels_last else torch.contiguous_format


class Trainer:
    """The state of training, with a batch of noise on the device.

    With `joint`, there is one backward pass through the summed loss, else one for each width. With `bf16`, convolutions
    and matrix products are in bf16.
    """

    def __init__(
        self,
        backbone,
        depth,
        widths,
        queue,
        batch,
        image_size,
        joint,
        channels_last,
        device="cpu",
        bf16=False,
        temperature=TEMPERATURE,
    ):
        self.widths, self.joint, self.temperature = widths, joint, temperature
        self.autocast = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16)
        # Reweighting 5: the weight of the full network is 1 + the sum of the other widths, that of the others 1.
        self.loss_weights = [1.0 + sum(self.widths[1:])] + [1.0] * (len(self.widths) - 1)
        self.query = Encoder(backbone, depth, widths).to(device, memory_format=layout(channels_last))
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        self.queue = F.normalize(torch.randn(DIM, queue, device=device), dim=0)
        self.pointer = 0
        parameters = list(self.query.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.SGD(groups, lr=LEARNING_RATE, momentum=MOMENTUM)
        views = torch.randn(2, batch, 3, image_size, image_size, device=device)
        self.views = [view.to(memory_format=layout(channels_last)) for view in views]

    def step(self, views=None, slim=True):
        """Takes a training step on two views of a batch, by default the noise. Returns each width's weighted loss.

        Trains only the full network unless `slim`.
        """
        query_views, key_views = self.views if views is None else views
        with torch.no_grad():
            keys, queries = list(self.key.parameters()), list(self.query.parameters())
            torch._foreach_mul_(keys, KEY_MOMENTUM)
            torch._foreach_add_(keys, queries, alpha=1.0 - KEY_MOMENTUM)
            with self.autocast:
                key = self.key(key_views, self.widths[0]).float()

        self.optimizer.zero_grad(set_to_none=True)
        losses, teacher = [], None
        trained = list(zip(self.widths, self.loss_weights)) if slim else [(self.widths[0], 1.0)]
        for width, loss_weight in trained:
            with self.autocast:
                query = self.query(query_views, width).float()
            logits = torch.cat([(query * key).sum(dim=1, keepdim=True), query @ self.queue], dim=1)
            loss = loss_weight * self.loss(logits, teacher)
            if not self.joint:
                loss.backward()
                loss = loss.detach()
            losses.append(loss)
            if teacher is None:
                teacher = F.softmax(logits.detach() / DISTILL_TEMPERATURE, dim=1)
        if self.joint:
            sum(losses).backward()
        self.optimizer.step()

        count = len(key)
        self.queue[:, self.pointer : self.pointer + count] = key.T
        self.pointer = (self.pointer + count) % self.queue.shape[1]
        return [loss.detach() for loss in losses]

    def loss(self, logits, teacher):
        """InfoNCE; for a sub-network, the mean of InfoNCE and distillation from the full network."""
        positives = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        contrast = F.cross_entropy(logits / self.temperature, positives)
        if teacher is None:
            return contrast
        student = F.log_softmax(logits / DISTILL_TEMPERATURE, dim=1)
        distillation = -(teacher * student).sum(dim=1).mean() * DISTILL_TEMPERATURE**2
        return (1.0 - DISTILL_WEIGHT) * contrast + DISTILL_WEIGHT * distillation


def ways(widths):
    """The variants of a step; which is fastest depends on the device."""
    backwards = (True, False) if len(widths) > 1 else (False,)
    return [dict(joint=joint, channels_last=last) for joint, last in itertools.product(backwards, (True, False))]
