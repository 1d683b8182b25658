"""Checks that TensorBoard reads what a run's events say. Arguments: the folder of its files, and events.jsonl."""

import io
import json
import os
import sys
from collections import defaultdict

import numpy
import PIL.Image
from google.protobuf import text_format
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from tensorboard.plugins.projector.projector_plugin import _read_tensor_tsv_file

folder, events = sys.argv[1:]


def fail(message):
    sys.exit(f"{folder}: {message}")


def read(run):
    """Reads the scalars of a run, as lists of (step, value) by tag, and its images."""
    accumulator = EventAccumulator(os.path.join(folder, run), {"scalars": 0, "images": 0})
    accumulator.Reload()
    tags = accumulator.Tags()
    scalars = {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in tags["scalars"]}
    return scalars, {tag: accumulator.Images(tag) for tag in tags["images"]}


def expected():
    """Returns the scalars that the events say, by the name of the run in TensorBoard and the tag."""
    found, widths = defaultdict(lambda: defaultdict(list)), []
    for event in map(json.loads, open(events)):
        add = lambda run, tag, value: found[run][tag].append((event["step"], value))
        match event["event"]:
            case "started":
                widths = [f"width-{width:g}" for width in event["config"]["widths"]]
            case "step":
                for field in ("loss", "learning_rate", "images_per_second"):
                    add(".", f"training/{field}", event[field])
                for width, loss in zip(widths, event["losses"], strict=True):
                    if loss != 0:
                        add(width, "training/loss", loss)
            case "interference":
                for width, norm in zip(widths, event["norms"], strict=True):
                    add(width, "interference/norms", norm)
            case "evaluated":
                for field in ("knn", "rankme"):
                    add(f"width-{event['width']:g}", f"evaluation/{field}", event[field])
    return found, widths


def check_scalars(run, tags):
    scalars, _ = read(run)
    for tag, values in tags.items():
        written = scalars.get(tag) or fail(f"{run} has no {tag}")
        # Of steps that were trained, evaluated and measured, in this order.
        if [step for step, _ in written] != [step for step, _ in values]:
            fail(f"{run}: the steps of {tag} are {[step for step, _ in written]}")
        if not numpy.allclose([value for _, value in written], [value for _, value in values], rtol=1e-6):
            fail(f"{run}: the values of {tag} differ")
        print(f"{run} {tag}: {len(written)} steps, the last {written[-1]}")


def check_views():
    [views] = read(".")[1]["views"]
    size = PIL.Image.open(io.BytesIO(views.encoded_image_string)).size
    if size != (views.width, views.height):
        fail(f"the picture of views has {size} pixels")


def check_embeddings(widths):
    path = lambda name: os.path.join(folder, name)
    config = text_format.Parse(open(path("projector_config.pbtxt")).read(), ProjectorConfig())
    if len(config.embeddings) != widths:
        fail(f"{len(config.embeddings)} widths have embeddings")
    for embeddings in config.embeddings:
        features = _read_tensor_tsv_file(path(embeddings.tensor_path))
        classes = open(path(embeddings.metadata_path)).read().splitlines()
        sheet, side = PIL.Image.open(path(embeddings.sprite.image_path)), embeddings.sprite.single_image_dim[0]
        columns = sheet.width // side
        if features.ndim != 2 or len(classes) != len(features) or not len(features) <= columns**2:
            fail(f"{embeddings.tensor_name}: {features.shape} features of {len(classes)} images")
        if not numpy.isfinite(features).all() or (features == features[0]).all():
            fail(f"{embeddings.tensor_name}: the features are not finite, or all alike")
        print(f"{embeddings.tensor_name}: {features.shape[1]} features of {len(classes)} images")


runs, widths = expected()
for run, tags in runs.items():
    check_scalars(run, tags)
check_views()
check_embeddings(len(widths))
