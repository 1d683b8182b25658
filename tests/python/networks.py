"""Networks as published code names and computes them, with values from `fill`."""

import math

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from fill import fill

OUTPUTS = 10
# Blocks of each stage.
BLOCKS = {18: (BasicBlock, [2, 2, 2, 2]), 50: (Bottleneck, [3, 4, 6, 3])}


def filled(network, salt):
    """Gives the network's parameters and statistics the values of their names, and sets it to evaluation mode."""
    floats = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
    values = {name: torch.from_numpy(fill(name, list(value.shape), salt)) for name, value in floats.items()}
    network.load_state_dict(values, strict=False)
    return network.eval()


def perceptron(inputs, hidden, outputs, normed=False):
    """Two linear layers with ReLU between them, and a batch norm before it if `normed`."""
    norm = [nn.BatchNorm1d(hidden)] if normed else []
    return nn.Sequential(nn.Linear(inputs, hidden), *norm, nn.ReLU(), nn.Linear(hidden, outputs))


class NarrowResNet(ResNet):
    """torchvision's ResNet with `base` channels in its first stage, where the standard is 64."""

    def __init__(self, depth, base):
        block, blocks = BLOCKS[depth]
        super().__init__(block, blocks, num_classes=OUTPUTS)
        self.inplanes = base
        self.conv1 = nn.Conv2d(3, base, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        for stage, count in enumerate(blocks):
            layer = self._make_layer(block, base << stage, count, stride=1 if stage == 0 else 2)
            setattr(self, f"layer{stage + 1}", layer)
        self.width = (base << 3) * block.expansion
        self.fc = nn.Linear(self.width, OUTPUTS)

    def pooled(self, images):
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return self.avgpool(self.layer4(self.layer3(self.layer2(self.layer1(x))))).flatten(1)

    def outputs(self, features):
        return self.fc(features)


class SwavResNet(NarrowResNet):
    """SwAV's ResNet: a stem that pads twice, a head of another name, and prototypes."""

    def __init__(self, depth, base, hidden, prototypes, normed=True):
        super().__init__(depth, base)
        del self.fc
        self.padding = nn.ConstantPad2d(1, 0.0)
        self.conv1 = nn.Conv2d(3, base, 7, stride=2, padding=2, bias=False)
        self.projection_head = perceptron(self.width, hidden, OUTPUTS, normed)
        self.prototypes = nn.Linear(OUTPUTS, prototypes, bias=False)

    def pooled(self, images):
        return super().pooled(self.padding(images))

    def outputs(self, features):
        return self.projection_head(features)


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's padding for input with sides of `side` pixels, as efficientnet_pytorch has it."""

    def __init__(self, inputs, outputs, kernel, side, stride=1, groups=1, bias=False):
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=bias)
        padding = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        self.sides = (padding // 2, padding - padding // 2) * 2

    def forward(self, x):
        return super().forward(nn.functional.pad(x, self.sides))


def tensorflow_norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class MBConv(nn.Module):
    """A block of efficientnet_pytorch."""

    def __init__(self, inputs, outputs, expansion, kernel, stride, side):
        super().__init__()
        middle = inputs * expansion
        if expansion > 1:
            self._expand_conv = SameConv(inputs, middle, 1, side)
            self._bn0 = tensorflow_norm(middle)
        self._depthwise_conv = SameConv(middle, middle, kernel, side, stride, groups=middle)
        self._bn1 = tensorflow_norm(middle)
        self._se_reduce = SameConv(middle, inputs // 4, 1, 1, bias=True)
        self._se_expand = SameConv(inputs // 4, middle, 1, 1, bias=True)
        self._project_conv = SameConv(middle, outputs, 1, side)
        self._bn2 = tensorflow_norm(outputs)
        self.expands = expansion > 1
        self.adds_input = stride == 1 and inputs == outputs

    def forward(self, x):
        silu = nn.functional.silu
        inner = silu(self._bn0(self._expand_conv(x))) if self.expands else x
        inner = silu(self._bn1(self._depthwise_conv(inner)))
        gate = self._se_expand(silu(self._se_reduce(inner.mean((2, 3), keepdim=True))))
        inner = self._bn2(self._project_conv(torch.sigmoid(gate) * inner))
        return inner + x if self.adds_input else inner


class EfficientNet(nn.Module):
    """EfficientNet-B0 or B1 as efficientnet_pytorch has it, with SEED's name of the head, which is MoCo v2's."""

    # Blocks of B0, expansion, kernel, stride, output channels.
    STAGES = [
        (1, 1, 3, 1, 16),
        (2, 6, 3, 2, 24),
        (2, 6, 5, 2, 40),
        (3, 6, 3, 2, 80),
        (3, 6, 5, 1, 112),
        (4, 6, 5, 2, 192),
        (1, 6, 3, 1, 320),
    ]

    def __init__(self, depth, side):
        super().__init__()
        self._conv_stem = SameConv(3, 32, 3, side, 2)
        self._bn0 = tensorflow_norm(32)
        side, inputs, blocks = math.ceil(side / 2), 32, []
        for count, expansion, kernel, stride, outputs in self.STAGES:
            for place in range(math.ceil(count * depth)):
                stride_here = stride if place == 0 else 1
                blocks.append(MBConv(inputs, outputs, expansion, kernel, stride_here, side))
                side, inputs = math.ceil(side / stride_here), outputs
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = SameConv(320, 1280, 1, side)
        self._bn1 = tensorflow_norm(1280)
        self.fc = perceptron(1280, 1280, OUTPUTS)

    def pooled(self, images):
        silu = nn.functional.silu
        x = silu(self._bn0(self._conv_stem(images)))
        for block in self._blocks:
            x = block(x)
        return silu(self._bn1(self._conv_head(x))).mean((2, 3))

    def outputs(self, features):
        return self.fc(features)


class SqueezeExcitation(nn.Module):
    def __init__(self, channels, squeezed):
        super().__init__()
        layers = [nn.Linear(channels, squeezed), nn.ReLU(), nn.Linear(squeezed, channels), nn.Hardsigmoid()]
        self.fc = nn.Sequential(*layers)

    def forward(self, x):
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class MobileBlock(nn.Module):
    """A block of SEED's MobileNetV3."""

    def __init__(self, inputs, middle, outputs, kernel, squeezed, activation, stride):
        super().__init__()
        depthwise = nn.Conv2d(middle, middle, kernel, stride, kernel // 2, groups=middle, bias=False)
        gate = SqueezeExcitation(middle, squeezed) if squeezed else nn.Identity()
        projection = [nn.Conv2d(middle, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        if inputs == middle:
            layers = [depthwise, nn.BatchNorm2d(middle), activation(), gate]
        else:
            expansion = [nn.Conv2d(inputs, middle, 1, bias=False), nn.BatchNorm2d(middle), activation()]
            layers = [*expansion, depthwise, nn.BatchNorm2d(middle), gate, activation()]
        self.conv = nn.Sequential(*layers, *projection)
        self.adds_input = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.conv(x) if self.adds_input else self.conv(x)


class MobileNetV3(nn.Module):
    """MobileNetV3-Large as SEED's code has it, with SEED's head, which is MoCo v2's."""

    # Kernel, expanded channels, output channels, channels inside squeeze-excitation, activation, stride.
    BLOCKS = [
        (3, 16, 16, 0, nn.ReLU, 1),
        (3, 64, 24, 0, nn.ReLU, 2),
        (3, 72, 24, 0, nn.ReLU, 1),
        (5, 72, 40, 24, nn.ReLU, 2),
        (5, 120, 40, 32, nn.ReLU, 1),
        (5, 120, 40, 32, nn.ReLU, 1),
        (3, 240, 80, 0, nn.Hardswish, 2),
        (3, 200, 80, 0, nn.Hardswish, 1),
        (3, 184, 80, 0, nn.Hardswish, 1),
        (3, 184, 80, 0, nn.Hardswish, 1),
        (3, 480, 112, 120, nn.Hardswish, 1),
        (3, 672, 112, 168, nn.Hardswish, 1),
        (5, 672, 160, 168, nn.Hardswish, 2),
        (5, 960, 160, 240, nn.Hardswish, 1),
        (5, 960, 160, 240, nn.Hardswish, 1),
    ]

    def __init__(self):
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish())
        layers, inputs = [stem], 16
        for kernel, middle, outputs, squeezed, activation, stride in self.BLOCKS:
            layers.append(MobileBlock(inputs, middle, outputs, kernel, squeezed, activation, stride))
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.conv = nn.Sequential(nn.Conv2d(160, 960, 1, bias=False), nn.BatchNorm2d(960), nn.Hardswish())
        self.classifier = nn.Sequential(nn.Linear(960, 1280), nn.Hardswish(), nn.Dropout(0.2))
        self.fc = perceptron(1280, 1280, OUTPUTS)

    def pooled(self, images):
        return self.classifier(self.conv(self.features(images)).mean((2, 3)))

    def outputs(self, features):
        return self.fc(features)
