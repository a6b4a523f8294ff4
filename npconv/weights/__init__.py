"""Weights on disk: a model's arrays as one safetensors file, and those that others published, under their own names.

    >>> list(SOURCES)
    ['timm/mobilenetv1', 'timm/ghostnet', 'huawei-noah/ghostnet', 'torchvision/resnet', 'megvii/shufflenet_v1', 'd-li14/octconv.pytorch']

`load` reads a file in the names of any of them; `load_state_dict` takes the arrays of a model that is in memory.
"""

from npconv.weights.files import load, metadata, read, save
from npconv.weights.sources import SOURCES, Source, load_state_dict

__all__ = ["SOURCES", "Source", "load", "load_state_dict", "metadata", "read", "save"]
