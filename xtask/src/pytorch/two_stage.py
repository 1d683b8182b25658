"""Training steps of SEED, DisCo and SwAV in plain PyTorch, to compare slimclr with.

Each is the step of its authors' code on one device, on a batch of noise, with what their code does one parameter at a
time done for all at once.
"""

import copy

import torch
from torch import nn
from torch.nn import functional as F

import slimmable
from slimmable import DIM, layout

LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.03, 0.9, 1e-4


class Encoder(nn.Module):
    """Backbone and head, [n, 3, h, w] to [n, DIM]; the head has as many hidden channels as features by default."""

    def __init__(self, backbone, depth, hidden=None, norm=False):
        super().__init__()
        self.backbone = slimmable.build(backbone, depth, [1.0])
        features = self.backbone.features
        hidden = hidden or features
        norms = [nn.BatchNorm1d(hidden)] if norm else []
        self.head = nn.Sequential(nn.Linear(features, hidden), *norms, nn.ReLU(inplace=True), nn.Linear(hidden, DIM))

    def forward(self, x):
        return F.normalize(self.head(self.backbone(x, 1.0)), dim=1)


def frozen(encoder):
    return encoder.requires_grad_(False)


class Queue:
    """The latest keys, as columns."""

    def __init__(self, length):
        self.keys = F.normalize(torch.randn(DIM, length), dim=0)
        self.pointer = 0

    def logits(self, embeddings, positives):
        """Similarities to the positives and to the keys: [n, 1 + length]."""
        return torch.cat([(embeddings * positives).sum(dim=1, keepdim=True), embeddings @ self.keys], dim=1)

    def enqueue(self, keys):
        count = len(keys)
        self.keys[:, self.pointer : self.pointer + count] = keys.T
        self.pointer = (self.pointer + count) % self.keys.shape[1]


def sgd(parameters, rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY):
    return torch.optim.SGD(parameters, lr=rate, momentum=MOMENTUM, weight_decay=weight_decay)


def noise(batch, size, way):
    return torch.randn(batch, 3, size, size).to(memory_format=layout(way["channels_last"]))


class Seed:
    """SEED: one view, which student and teacher see; the teacher has running statistics."""

    STUDENT_TEMPERATURE, TEACHER_TEMPERATURE = 0.2, 0.05

    def __init__(self, way, backbone, depth, teacher_depth, batch, image_size, queue, **_):
        order = layout(way["channels_last"])
        self.student = Encoder(backbone, depth).to(memory_format=order)
        self.teacher = frozen(Encoder(backbone, teacher_depth)).eval().to(memory_format=order)
        self.queue, self.view = Queue(queue), noise(batch, image_size, way)
        self.optimizer = sgd(self.student.parameters())

    def step(self):
        with torch.no_grad():
            keys = self.teacher(self.view)
            targets = F.softmax(self.queue.logits(keys, keys) / self.TEACHER_TEMPERATURE, dim=1)
        logits = self.queue.logits(self.student(self.view), keys)
        loss = F.cross_entropy(logits / self.STUDENT_TEMPERATURE, targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.queue.enqueue(keys)
        return loss.detach()


class Disco:
    """DisCo: MoCo v2, whose embeddings of both views also match the teacher's; the teacher has batch statistics."""

    TEMPERATURE, KEY_MOMENTUM = 0.2, 0.99

    def __init__(self, way, backbone, depth, teacher_depth, batch, image_size, queue, **_):
        order = layout(way["channels_last"])
        self.query = Encoder(backbone, depth, hidden=2048).to(memory_format=order)
        self.key = frozen(copy.deepcopy(self.query))
        self.teacher = frozen(Encoder(backbone, teacher_depth)).to(memory_format=order)
        self.queue, self.views = Queue(queue), [noise(batch, image_size, way) for _ in range(2)]
        self.positives = torch.zeros(batch, dtype=torch.long)
        self.optimizer = sgd(self.query.parameters())

    def step(self):
        first, second = self.views
        query, other = self.query(first), self.query(second)
        with torch.no_grad():
            keys, queries = list(self.key.parameters()), list(self.query.parameters())
            torch._foreach_mul_(keys, self.KEY_MOMENTUM)
            torch._foreach_add_(keys, queries, alpha=1.0 - self.KEY_MOMENTUM)
            of_second = self.teacher(second)
            key = self.key(second)
            of_first = self.teacher(first)
        logits = self.queue.logits(query, key)
        errors = (query - of_first).square().sum() + (other - of_second).square().sum()
        loss = F.cross_entropy(logits / self.TEMPERATURE, self.positives) + errors
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.queue.enqueue(key)
        return loss.detach()


class Swav:
    """SwAV without a queue: crops of one size pass through the backbone together, all crops through the head."""

    TEMPERATURE, ITERATIONS, TRUST, LARC_EPSILON = 0.1, 3, 0.001, 1e-8
    LEARNING_RATE, WEIGHT_DECAY = 0.6, 1e-6

    def __init__(self, way, backbone, depth, batch, image_size, prototypes, epsilon, small_crops, small_size, **_):
        self.encoder = Encoder(backbone, depth, hidden=2048, norm=True).to(memory_format=layout(way["channels_last"]))
        self.prototypes = nn.Linear(DIM, prototypes, bias=False)
        self.parameters = [*self.encoder.parameters(), *self.prototypes.parameters()]
        self.epsilon = epsilon
        self.by_size = [noise(2 * batch, image_size, way)]
        if small_crops > 0:
            self.by_size.append(noise(small_crops * batch, small_size, way))
        self.crops = 2 + small_crops
        # LARC includes the weight decay.
        self.optimizer = sgd(self.parameters, rate=self.LEARNING_RATE, weight_decay=0.0)

    def step(self):
        with torch.no_grad():
            self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))
        features = torch.cat([self.encoder.backbone(crops, 1.0) for crops in self.by_size])
        scores = self.prototypes(F.normalize(self.encoder.head(features), dim=1)).chunk(self.crops)
        predicted = [F.log_softmax(of_crop / self.TEMPERATURE, dim=1) for of_crop in scores]
        loss = 0.0
        for assigning in range(2):
            shares = self.assign(scores[assigning].detach())
            others = [of_crop for crop, of_crop in enumerate(predicted) if crop != assigning]
            loss = loss - sum((shares * other).sum(dim=1).mean() for other in others) / (2 * (self.crops - 1))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.scale_gradients()
        self.optimizer.step()
        return loss.detach()

    @torch.no_grad()
    def assign(self, scores):
        """Sinkhorn's algorithm."""
        shares = torch.exp(scores / self.epsilon).T
        shares /= shares.sum()
        prototypes, images = shares.shape
        for _ in range(self.ITERATIONS):
            shares /= shares.sum(dim=1, keepdim=True) * prototypes
            shares /= shares.sum(dim=0, keepdim=True) * images
        return (shares * images).T

    @torch.no_grad()
    def scale_gradients(self):
        """LARC: scales each gradient to a share of its parameter's norm."""
        gradients = [parameter.grad for parameter in self.parameters]
        weights = torch.stack(torch._foreach_norm(self.parameters))
        norms = torch.stack(torch._foreach_norm(gradients))
        adapts = (weights > 0) & (norms > 0)
        rates = self.TRUST * weights / (norms + self.WEIGHT_DECAY * weights + self.LARC_EPSILON)
        decays = torch.where(adapts, self.WEIGHT_DECAY, 0.0).tolist()
        decayed = torch._foreach_mul(self.parameters, decays)
        torch._foreach_add_(gradients, decayed)
        torch._foreach_mul_(gradients, torch.where(adapts, rates, 1.0).tolist())


TRAINERS = dict(seed=Seed, disco=Disco, swav=Swav)
