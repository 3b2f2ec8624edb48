"""Images and where they come from."""

from simkit.data.images import ImageSet, ImageShape
from simkit.data.load import load, peek
from simkit.data.source import DataInfo, Split

__all__ = ["DataInfo", "ImageSet", "ImageShape", "Split", "load", "peek"]
