"""Writes statistics of torchvision's views of MoCo v2, over 10,000 draws, for the tests of slimclr's.

    views.py ../../native/assets/cifar10-train.webp ../fixtures/views.json

Each entry is `[mean, standard deviation]` over the draws, for images with values from 0 to 1:

- `mean`, `spread`: mean and standard deviation of the pixels of a view, 32 pixels wide, of one of 100 embedded images;
- `grey`: whether its three channels are equal;
- `area`, `flipped`: crops and flips only, of an image whose red grows from left to right and whose green grows
  downwards: the product of the two slopes, relative to the whole image's, and whether red falls;
- `detail`, `blurred`: blur only, of an image of one-pixel stripes, 64 pixels wide: the standard deviation of its pixels,
  and whether that is below 0.4 (it is 0.5 without blur).
"""

import json
import sys

import numpy as np
import torch
from PIL import Image, ImageFilter
from torchvision.transforms import v2

DRAWS = 10_000


def blur(image):
    """Blurs as MoCo's code does."""
    return image.filter(ImageFilter.GaussianBlur(radius=torch.empty(1).uniform_(0.1, 2.0).item()))


CROP = v2.RandomResizedCrop(32, scale=(0.2, 1.0))
FLIP = v2.RandomHorizontalFlip()
VIEW = v2.Compose(
    [CROP, v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8), v2.RandomGrayscale(p=0.2), FLIP]
)
GEOMETRY = v2.Compose([CROP, FLIP])
BLUR = v2.RandomApply([v2.Lambda(blur)], p=0.5)


def array(image):
    return np.asarray(image, dtype=np.float64) / 255.0


def main():
    sheet, target = sys.argv[1:]
    torch.manual_seed(0)
    sheet = Image.open(sheet).convert("RGB")
    tiles = [sheet.crop((32 * (i % 50), 32 * (i // 50), 32 * (i % 50) + 32, 32 * (i // 50) + 32)) for i in range(100)]
    views = [array(VIEW(tiles[draw % len(tiles)])) for draw in range(DRAWS)]
    measured = dict(
        mean=[view.mean() for view in views],
        spread=[view.std() for view in views],
        grey=[float(np.ptp(view, axis=2).max() == 0.0) for view in views],
    )
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8) * 4, (64, 64))
    ramps = Image.fromarray(np.stack([ramp, ramp.T, np.zeros_like(ramp)], axis=2))
    crops = [array(GEOMETRY(ramps)) for _ in range(DRAWS)]
    # Away from the edges, where resampling flattens the ramps.
    across = [crop[16, 24, 0] - crop[16, 7, 0] for crop in crops]
    down = [crop[24, 16, 1] - crop[7, 16, 1] for crop in crops]
    whole = (17 * 2 * 4 / 255.0) ** 2
    measured["area"] = [abs(x) * y / whole for x, y in zip(across, down)]
    measured["flipped"] = [float(x < 0) for x in across]
    stripes = np.broadcast_to(np.where(np.arange(64) % 2 == 0, 255, 0).astype(np.uint8)[:, None], (64, 64, 3))
    details = [array(BLUR(Image.fromarray(stripes.transpose(1, 0, 2).copy()))).std() for _ in range(DRAWS)]
    measured["detail"] = details
    measured["blurred"] = [float(detail < 0.4) for detail in details]
    rounded = {name: [round(float(np.mean(v)), 6), round(float(np.std(v)), 6)] for name, v in measured.items()}
    with open(target, "w") as file:
        json.dump(dict(draws=DRAWS, **rounded), file, indent=1)
        file.write("\n")


main()
