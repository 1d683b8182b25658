"""Times one SlimCLR-MoCov2 training step in plain PyTorch, as the measure beside our own.

The images are random and already on the device: PyTorch is spared loading and augmentation.

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
    """Median rate over stretches of steps, after a warm-up; the device is waited for only between stretches."""
    trainer = Trainer(**network, **way)

    def seconds(steps):
        start = time.perf_counter()
        for _ in range(steps):
            losses = trainer.step()
        # Reading a number makes the device finish.
        if not math.isfinite(sum(float(loss) for loss in losses)):
            sys.exit("PyTorch's loss is not finite")
        return time.perf_counter() - start

    seconds(options.warmup)
    stretches = [seconds(options.stretch) for _ in range(max(1, options.steps // options.stretch))]
    return options.stretch * network["batch"] / statistics.median(stretches)


def arguments():
    """What to train, and when to look at the clock."""

    def widths(text):
        return [float(width) for width in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    network = parser.add_argument_group("network")
    network.add_argument("--device", default="cuda", help="cpu, cuda or cuda:N")
    network.add_argument("--backbone", default="cifar", choices=["cifar", "resnet"], help="for small images, ImageNet's")
    network.add_argument("--depth", type=int, default=20, help="layers: 6 n + 2 of cifar, 50 of resnet")
    network.add_argument("--batch", type=int, default=512, help="images per step")
    network.add_argument("--widths", type=widths, default=[1.0, 0.75, 0.5, 0.25], help="descending from 1.0")
    network.add_argument("--queue", type=int, default=4096, help="keys in the queue, a multiple of the batch")
    network.add_argument("--image-size", type=int, default=32, help="side of the views")
    network.add_argument("--bf16", action="store_true", help="convolutions and products in bfloat16, by autocast")
    timing = parser.add_argument_group("timing")
    timing.add_argument("--steps", type=int, default=100, help="steps to time")
    timing.add_argument("--warmup", type=int, default=20, help="steps before them")
    timing.add_argument("--stretch", type=int, default=10, help="steps between two looks at the clock")
    options = parser.parse_args()
    if options.queue % options.batch != 0:
        parser.error(f"a queue of {options.queue} is not divisible by a batch of {options.batch}")
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
        # One backward pass for all widths takes several times the memory of one for each.
        try:
            rates.append((images_per_second(network, options, way), way))
        except torch.cuda.OutOfMemoryError:
            print(f"too little memory for {way}", file=sys.stderr)
    if not rates:
        sys.exit("PyTorch finds too little memory")
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
                # Tensor cores round the factors of convolutions in 32 bits to 10; cuDNN may use them by default.
                "tf32": bool(is_cuda and torch.backends.cudnn.allow_tf32 and not options.bf16),
            }
        )
    )


if __name__ == "__main__":
    main()
