"""PyTorch's program for `cargo xtask bench`. It has the protocol of slimclr's, `core/benches/against.rs`.

It prints its name, reads a job in JSON from standard input, and runs it once without measuring. Then, for each line
that it reads, the first one included, it measures the job and prints the time. If there are several variants of a job,
it first tries each in a separate process, so that its own peak memory is that of the fastest.
"""

import io
import itertools
import json
import multiprocessing
import os
import sys
import time

import torch
from PIL import Image, ImageFilter
from torch.nn import functional as F
from torchvision.transforms import v2

import slimmable
import two_stage

LEAST = 0.5  # seconds of a measurement, at least
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's channels
LARGEST_UNBLURRED = 32  # pixels


def step(way, observe, recompute, precision, **network):
    """A training step of all widths; items are images. `observe` and `recompute` are always false."""
    trainer = slimmable.Trainer(**network, **way, bf16=precision == "bf16")
    return network["batch"], trainer.step


def two_stage_step(way, method, **network):
    """A training step of a method that is compared with; items are images."""
    trainer = two_stage.TRAINERS[method](way, **network)
    return network["batch"], trainer.step


def evaluate(way, backbone, depth, widths, batch, image_size, precision, **_):
    """The features of a batch at the last of the widths, in evaluation mode; items are images."""
    order = slimmable.layout(way["channels_last"])
    network = slimmable.build(backbone, depth, widths).eval().to(memory_format=order)
    images = torch.randn(batch, 3, image_size, image_size).to(memory_format=order)

    @torch.inference_mode()
    def run():
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            network(images, widths[-1])

    return batch, run


def blur(image):
    """Gaussian blur with Pillow, as in MoCo's code."""
    sigma = torch.empty(1).uniform_(0.1, 2.0).item()
    return image.filter(ImageFilter.GaussianBlur(radius=sigma))


def augment(way, file, size, decode, **_):
    """MoCo v2 views of an image file on one core. With `decode`, the file is decoded for every two views, else once."""
    torch.set_num_threads(1)
    view = v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(0.2, 1.0)),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(p=0.2),
            *([v2.RandomApply([v2.Lambda(blur)], p=0.5)] if size > LARGEST_UNBLURRED else []),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, DEVIATION),
        ]
    )
    with open(file, "rb") as opened:
        content = opened.read()

    def read():
        return Image.open(io.BytesIO(content)).convert("RGB")

    image = read()

    def run():
        decoded = read() if decode else image
        for _ in range(2):
            view(decoded)

    return 2, run


def neighbours(way, bank, test, features, k):
    """kNN of random features in ten classes; items are test images."""
    images, labels = torch.randn(bank, features), torch.arange(bank) % 10
    queries = torch.randn(test, features)

    @torch.inference_mode()
    def run():
        known = F.normalize(images, dim=1).T
        for chunk in F.normalize(queries, dim=1).split(way["chunk"]):
            similarities, nearest = (chunk @ known).topk(k, dim=1)
            votes = torch.zeros(len(chunk), 10).scatter_add_(1, labels[nearest], (similarities / 0.1).exp())
            votes.argmax(dim=1)

    return test, run


def multiply(way, side):
    """A product of square matrices; items are floating-point operations."""
    a, b = torch.rand(side, side), torch.rand(side, side)
    return 2 * side**3, lambda: a @ b


def copy(way, size):
    """A copy in memory; items are bytes that are read or written."""
    source = torch.rand(size // 4)
    target = torch.empty_like(source)
    return 2 * size, lambda: target.copy_(source)


JOBS = dict(
    step=(step, lambda job: slimmable.ways(job["widths"])),
    two_stage=(two_stage_step, lambda job: [dict(channels_last=last) for last in (True, False)]),
    evaluate=(evaluate, lambda job: [dict(channels_last=last) for last in (True, False)]),
    augment=(augment, lambda job: [{}]),
    neighbours=(neighbours, lambda job: [dict(chunk=chunk) for chunk in (64, 256, 1000)]),
    multiply=(multiply, lambda job: [{}]),
    copy=(copy, lambda job: [{}]),
)


def measure(items, run):
    """Repeats a job until it has taken LEAST seconds."""
    start = time.perf_counter()
    for times in itertools.count(1):
        run()
        seconds = time.perf_counter() - start
        if seconds >= LEAST:
            return dict(seconds=seconds, items=items * times)


def trial(name, way, job):
    """Items per second of one variant of a job."""
    items, run = JOBS[name][0](way, **job)
    run()
    answer = measure(items, run)
    return answer["items"] / answer["seconds"]


def fastest(name, job):
    """The fastest variant of a job."""
    ways = JOBS[name][1](job)
    if len(ways) == 1:
        return ways[0]
    # Forking is safe: PyTorch has not started a thread in this process yet.
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        rates = [pool.apply(trial, (name, way, job)) for way in ways]
    return ways[rates.index(max(rates))]


def main():
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    print(json.dumps({"is": f"PyTorch {torch.__version__} with {threads} threads"}), flush=True)
    line = sys.stdin.readline()
    if not line:
        return
    [(name, job)] = json.loads(line).items()
    way = fastest(name, job)
    items, run = JOBS[name][0](way, **job)
    run()
    while line:
        print(json.dumps(dict(measure(items, run), way=way)), flush=True)
        line = sys.stdin.readline()


if __name__ == "__main__":
    main()
