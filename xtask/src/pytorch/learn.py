"""SlimCLR-MoCov2 on CIFAR-10 in plain PyTorch, to compare slimclr's accuracy with.

The argument has the options as a JSON object. Prints a line of JSON for each width before training and after each
epoch: the kNN accuracy of the backbone's features.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from torchvision.transforms import v2

import slimmable

MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # of CIFAR-10's channels
NEIGHBOURS, VOTE_TEMPERATURE = 200, 0.1

FINISH = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, DEVIATION)]
VIEW = v2.Compose(
    [
        v2.RandomResizedCrop(32, scale=(0.2, 1.0)),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        v2.RandomGrayscale(p=0.2),
        v2.RandomHorizontalFlip(),
        *FINISH,
    ]
)


class TwoViews(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return VIEW(self.images[index]), VIEW(self.images[index])


def read(files):
    """The images and labels of CIFAR-10's binary batches."""
    records = np.concatenate([np.fromfile(file, np.uint8).reshape(-1, 3073) for file in files])
    pixels = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return [Image.fromarray(image) for image in pixels], torch.from_numpy(records[:, 0].astype(np.int64))


def rate(step, steps, options):
    """The learning rate of a step: linear warm-up, then cosine decay."""
    warm = round(options["warmup"] * steps)
    if step <= warm and warm > 0:
        return options["learning_rate"] * step / warm
    return options["learning_rate"] * (1 + math.cos(math.pi * (step - warm) / (steps - warm))) / 2


@torch.inference_mode()
def features(network, images, width):
    still = v2.Compose(FINISH)
    chunks = (images[at : at + 500] for at in range(0, len(images), 500))
    return F.normalize(torch.cat([network(torch.stack([still(i) for i in chunk]), width) for chunk in chunks]), dim=1)


@torch.inference_mode()
def knn(bank, labels, queries, answers):
    """The accuracy of kNN with votes weighted by similarity."""
    right = 0
    for chunk, of_chunk in zip(queries.split(500), answers.split(500)):
        similarities, nearest = (chunk @ bank.T).topk(NEIGHBOURS, dim=1)
        votes = torch.zeros(len(chunk), 10).scatter_add_(
            1, labels[nearest], (similarities / VOTE_TEMPERATURE).exp()
        )
        right += (votes.argmax(dim=1) == of_chunk).sum().item()
    return right / len(queries)


def evaluate(trainer, epoch, train, test):
    network = trainer.query.backbone.eval()
    for width in trainer.widths:
        accuracy = knn(features(network, train[0], width), train[1], features(network, test[0], width), test[1])
        print(json.dumps(dict(epoch=epoch, width=width, knn=accuracy)), flush=True)
    network.train()


def main():
    options = json.loads(sys.argv[1])
    torch.manual_seed(options["seed"])
    folder, batch, epochs = Path(options["data"]), options["batch"], options["epochs"]
    train = read(sorted(folder.glob("data_batch_*.bin")))
    test = read([folder / "test_batch.bin"])
    trainer = slimmable.Trainer(
        **{key: options[key] for key in ("backbone", "depth", "widths", "queue", "batch", "temperature")},
        image_size=32,
        joint=False,
        channels_last=True,
    )
    loader = torch.utils.data.DataLoader(TwoViews(train[0]), batch, shuffle=True, drop_last=True, num_workers=2)
    steps = epochs * len(loader)
    slow_start = round(options["slow_start"] * steps)
    evaluate(trainer, 0, train, test)
    step = 0
    for epoch in range(epochs):
        for views in loader:
            for group in trainer.optimizer.param_groups:
                group["lr"] = rate(step, steps, options)
            trainer.step(views, slim=step >= slow_start)
            step += 1
        evaluate(trainer, epoch + 1, train, test)


main()
