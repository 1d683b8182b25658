"""Times SlimCLR-MoCov2's training step in plain PyTorch, to compare slimclr with.

The images are random and already on the device, so loading and augmentation are not timed.

Prints one line of JSON: {"images_per_second": ..., "device": ..., "backward": "joint" or "sequential", ...}.
"""

import argparse
import json
import math
import statistics
import sys
import time

import torch

from slimmable import Trainer, ways


def images_per_second(network, options, way):
    """The median rate over stretches of steps, after a warm-up. It waits for the device only between stretches."""
    trainer = Trainer(**network, **way)

    def seconds(steps):
        start = time.perf_counter()
        for _ in range(steps):
            losses = trainer.step()
        # Reading the loss waits for the device.
        if not math.isfinite(sum(float(loss) for loss in losses)):
            sys.exit("PyTorch's loss is NaN or infinite")
        return time.perf_counter() - start

    seconds(options.warmup)
    stretches = [seconds(options.stretch) for _ in range(max(1, options.steps // options.stretch))]
    return options.stretch * network["batch"] / statistics.median(stretches)


def arguments():
    """The network to train, and the options of timing."""

    def widths(text):
        return [float(width) for width in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    network = parser.add_argument_group("network")
    network.add_argument("--device", default="cuda", help="cpu, cuda or cuda:N")
    network.add_argument("--backbone", default="cifar", choices=["cifar", "resnet"], help="for small images, or ImageNet's")
    network.add_argument("--depth", type=int, default=20, help="6 n + 2 for cifar, 50 for resnet")
    network.add_argument("--batch", type=int, default=512, help="images per step")
    network.add_argument("--widths", type=widths, default=[1.0, 0.75, 0.5, 0.25], help="descending from 1.0")
    network.add_argument("--queue", type=int, default=4096, help="keys in the queue, a multiple of the batch")
    network.add_argument("--image-size", type=int, default=32, help="width of the views in pixels")
    network.add_argument("--bf16", action="store_true", help="convolutions and matrix products in bf16, by autocast")
    timing = parser.add_argument_group("timing")
    timing.add_argument("--steps", type=int, default=100, help="steps to time")
    timing.add_argument("--warmup", type=int, default=20, help="steps before them")
    timing.add_argument("--stretch", type=int, default=10, help="steps between two readings of the clock")
    options = parser.parse_args()
    if options.queue % options.batch != 0:
        parser.error(f"the queue of {options.queue} is not a multiple of the batch of {options.batch}")
    if options.warmup < 1 or options.stretch < 1:
        parser.error("warmup and stretch must be at least 1")
    chosen = vars(options)
    return {action.dest: chosen[action.dest] for action in network._group_actions}, options


def main():
    network, options = arguments()
    is_cuda = options.device.startswith("cuda")
    if is_cuda and not torch.cuda.is_available():
        sys.exit("PyTorch finds no CUDA device")
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    rates = []
    for way in ways(options.widths):
        # One backward pass for all widths needs several times the memory of one for each.
        try:
            rates.append((images_per_second(network, options, way), way))
        except torch.cuda.OutOfMemoryError:
            print(f"too little memory for {way}", file=sys.stderr)
    if not rates:
        sys.exit("PyTorch has too little memory")
    rate, way = max(rates, key=lambda measured: measured[0])
    print(
        json.dumps(
            {
                "images_per_second": round(rate, 1),
                "device": torch.cuda.get_device_name(options.device) if is_cuda else "cpu",
                "backward": "joint" if way["joint"] else "sequential",
                "channels_last": way["channels_last"],
                "version": torch.__version__,
                "threads": torch.get_num_threads(),
                # In TF32, convolutions round their inputs to 10 bits of mantissa; cuDNN may use it by default.
                "tf32": bool(is_cuda and torch.backends.cudnn.allow_tf32 and not options.bf16),
            }
        )
    )


if __name__ == "__main__":
    main()
