"""Makes the images that augmentation is measured on: noise at all scales, as in photographs, with some edges.

    images.py CAMERA.jpg PHOTOGRAPH.jpg SMALL.png

CAMERA has 4000 x 3000 pixels, PHOTOGRAPH 500 x 375, as in ImageNet, and SMALL 32 x 32, as in CIFAR.
"""

import sys

import numpy
from PIL import Image

camera, photograph, small = sys.argv[1:]
random = numpy.random.default_rng(0)
width, height = 500, 375
picture = numpy.zeros((height, width, 3))
for scale in (1, 2, 4, 8, 16, 32, 64, 128):
    coarse = random.normal(size=(height // scale + 2, width // scale + 2, 3))
    channels = [Image.fromarray(coarse[..., c].astype("f4")).resize((width, height), Image.BICUBIC) for c in range(3)]
    # As in photographs, the amplitude grows with the scale, and the channels are similar.
    layer = numpy.stack([numpy.asarray(channel) for channel in channels], axis=2)
    picture += scale**0.25 * (0.7 * layer.mean(axis=2, keepdims=True) + 0.3 * layer)
picture /= picture.std()
columns, rows = numpy.meshgrid(numpy.arange(width), numpy.arange(height))
for _ in range(12):
    x, y, radius = random.uniform(0, width), random.uniform(0, height), random.uniform(20, 80)
    picture[(columns - x) ** 2 + (rows - y) ** 2 < radius**2] += random.normal(size=3)
picture = 128 + 60 * picture / picture.std()
image = Image.fromarray(picture.clip(0, 255).astype("u1"))
image.save(photograph, "JPEG", quality=90)
image.resize((32, 32), Image.LANCZOS).save(small, "PNG")

# A camera's optics resolve less than its pixels, and its sensor adds noise.
large = numpy.asarray(image.resize((8 * width, 8 * height), Image.BICUBIC), dtype="f4")
grain = random.normal(scale=3, size=(*large.shape[:2], 1)).astype("f4")
Image.fromarray((large + grain).clip(0, 255).astype("u1")).save(camera, "JPEG", quality=90)
