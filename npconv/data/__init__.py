"""Images to learn from: files and folders of many kinds, the split into three parts, batches, augmentation.

    >>> from npconv import data
    >>> dataset = data.load("digits")
    >>> dataset.train.images.shape, dataset.class_names[:3]
    ((1259, 1, 8, 8), ('0', '1', '2'))

`load` takes a name, a file or a folder; `from_arrays` takes arrays. Nothing here runs code that a file holds.
"""

from npconv.data.augmentation import Augmentation, color, flip, pad_crop, parse_augmentation, random_shift, rotate
from npconv.data.batches import batch_count, batches, in_background, take
from npconv.data.dataset import Dataset, Part, digits, from_arrays, from_source
from npconv.data.labels import numbered
from npconv.data.loading import load, load_all
from npconv.data.pictures import fitted, open_picture, picture_files
from npconv.data.source import Labelled, Source

__all__ = [
    "Augmentation",
    "Dataset",
    "Labelled",
    "Part",
    "Source",
    "batch_count",
    "batches",
    "color",
    "digits",
    "fitted",
    "flip",
    "from_arrays",
    "from_source",
    "in_background",
    "load",
    "load_all",
    "numbered",
    "open_picture",
    "pad_crop",
    "parse_augmentation",
    "picture_files",
    "random_shift",
    "rotate",
    "take",
]
