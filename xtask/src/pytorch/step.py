"""Times one SlimCLR-MoCov2 training step in plain PyTorch, as the measure beside our own.

The step is that of the `slimclr` program: a slimmable CIFAR ResNet with switchable batch norm and MoCo v2's
head, keys from the momentum encoder at full width, InfoNCE over a queue, distillation from the full network,
SGD. The images are random and already on the device: PyTorch is spared loading and augmentation.

Prints one line of JSON: {"images_per_second": ..., "device": ..., "backward": "joint" or "sequential", ...}.
"""

import argparse
import copy
import itertools
import json
import math
import statistics
import sys
import time

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
    """A convolution whose leading slice serves each width."""

    def __init__(self, inputs, outputs, kernel, stride):
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x, width):
        weight = self.weight[: math.floor(self.out_channels * width), : x.shape[1]]
        return F.conv2d(x, weight, None, self.stride, self.padding)


class SlimLinear(nn.Linear):
    """A linear layer whose leading slice serves each width; `slim` false keeps all its outputs."""

    def __init__(self, inputs, outputs, slim):
        super().__init__(inputs, outputs)
        self.slim = slim
        nn.init.normal_(self.weight, std=0.01)
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
    """A width as a module's name, in which there may be no dot."""
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
        # The authors' numbers need a ReLU before the sum too, where the usual block has none.
        inner = F.relu(self.second(F.relu(self.first(x, width)), width))
        outer = x if self.shortcut is None else self.shortcut(x, width)
        return F.relu(inner + outer)


class Encoder(nn.Module):
    """CIFAR ResNet and head: [n, 3, h, w] to unit vectors [n, DIM]."""

    def __init__(self, depth, widths):
        super().__init__()
        self.stem = ConvNorm(3, 16, 3, 1, widths)
        self.blocks = nn.ModuleList()
        inputs = 16
        for stage, place in itertools.product(range(3), range((depth - 2) // 6)):
            outputs, stride = 16 << stage, 2 if stage > 0 and place == 0 else 1
            self.blocks.append(BasicBlock(inputs, outputs, stride, widths))
            inputs = outputs
        self.hidden = SlimLinear(inputs, inputs, slim=True)
        self.output = SlimLinear(inputs, DIM, slim=False)

    def forward(self, x, width):
        x = F.relu(self.stem(x, width))
        for block in self.blocks:
            x = block(x, width)
        x = x.mean(dim=(2, 3))
        x = self.output(F.relu(self.hidden(x, width)), width)
        return F.normalize(x, dim=1)


class Trainer:
    """Everything that training moves."""

    def __init__(self, options):
        device = torch.device(options.device)
        self.widths, self.joint = options.widths, options.joint
        # Reweighting 5: the full network counts 1 + the sum of the other widths, the others 1.
        self.loss_weights = [1.0 + sum(self.widths[1:])] + [1.0] * (len(self.widths) - 1)
        self.query = Encoder(options.depth, self.widths).to(device)
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        self.queue = F.normalize(torch.randn(DIM, options.queue, device=device), dim=0)
        self.pointer = 0
        parameters = list(self.query.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.SGD(groups, lr=LEARNING_RATE, momentum=MOMENTUM)

    def step(self, query_views, key_views):
        """One training step; returns each width's weighted loss."""
        with torch.no_grad():
            keys, queries = list(self.key.parameters()), list(self.query.parameters())
            torch._foreach_mul_(keys, KEY_MOMENTUM)
            torch._foreach_add_(keys, queries, alpha=1.0 - KEY_MOMENTUM)
            key = self.key(key_views, self.widths[0])

        self.optimizer.zero_grad(set_to_none=True)
        losses, teacher = [], None
        for width, loss_weight in zip(self.widths, self.loss_weights):
            query = self.query(query_views, width)
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

    @staticmethod
    def loss(logits, teacher):
        """InfoNCE; for a sub-network half of it, and half the distillation from the full network."""
        positives = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        contrast = F.cross_entropy(logits / TEMPERATURE, positives)
        if teacher is None:
            return contrast
        student = F.log_softmax(logits / DISTILL_TEMPERATURE, dim=1)
        distillation = -(teacher * student).sum(dim=1).mean() * DISTILL_TEMPERATURE**2
        return (1.0 - DISTILL_WEIGHT) * contrast + DISTILL_WEIGHT * distillation


def images_per_second(options):
    """Median rate over stretches of steps, after a warm-up; the device is waited for only between stretches."""
    trainer = Trainer(options)
    shape = (options.batch, 3, options.image_size, options.image_size)
    views = [torch.randn(shape, device=options.device) for _ in range(2)]

    def seconds(steps):
        start = time.perf_counter()
        for _ in range(steps):
            losses = trainer.step(*views)
        # Reading a number makes the device finish.
        if not math.isfinite(sum(float(loss) for loss in losses)):
            sys.exit("PyTorch's loss is not finite")
        return time.perf_counter() - start

    seconds(options.warmup)
    stretches = [seconds(options.stretch) for _ in range(max(1, options.steps // options.stretch))]
    return options.stretch * options.batch / statistics.median(stretches)


def options():
    def widths(text):
        return [float(width) for width in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cpu, cuda or cuda:N")
    parser.add_argument("--depth", type=int, default=20, help="layers of the CIFAR ResNet, 6 n + 2")
    parser.add_argument("--batch", type=int, default=512, help="images per step")
    parser.add_argument("--widths", type=widths, default=[1.0, 0.75, 0.5, 0.25], help="descending from 1.0")
    parser.add_argument("--queue", type=int, default=4096, help="keys in the queue, a multiple of the batch")
    parser.add_argument("--image-size", type=int, default=32, help="side of the views")
    parser.add_argument("--steps", type=int, default=100, help="steps to time")
    parser.add_argument("--warmup", type=int, default=20, help="steps before them")
    parser.add_argument("--stretch", type=int, default=10, help="steps between two looks at the clock")
    options = parser.parse_args()
    if options.depth < 8 or options.depth % 6 != 2:
        parser.error(f"there is no CIFAR ResNet with {options.depth} layers")
    if options.queue % options.batch != 0:
        parser.error(f"a queue of {options.queue} is not divisible by a batch of {options.batch}")
    if options.warmup < 1 or options.stretch < 1:
        parser.error("warmup and stretch must be at least 1")
    return options


def main():
    chosen = options()
    is_cuda = chosen.device.startswith("cuda")
    if is_cuda and not torch.cuda.is_available():
        sys.exit("PyTorch finds no CUDA device")
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    # One backward through the summed loss, or one per width: which is faster depends on the device.
    rates = {}
    for backward in ("joint", "sequential"):
        chosen.joint = backward == "joint"
        rates[backward] = images_per_second(chosen)
    backward = max(rates, key=rates.get)
    print(
        json.dumps(
            {
                "images_per_second": round(rates[backward], 1),
                "device": torch.cuda.get_device_name(chosen.device) if is_cuda else "cpu",
                "backward": backward,
                "version": torch.__version__,
                "threads": torch.get_num_threads(),
                # Tensor cores round the factors of convolutions to 10 bits; cuDNN may use them by default.
                "tf32": bool(is_cuda and torch.backends.cudnn.allow_tf32),
            }
        )
    )


if __name__ == "__main__":
    main()
