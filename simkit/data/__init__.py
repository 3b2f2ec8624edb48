"""Images and their sources."""

from simkit.data.arrays import unlabelled
from simkit.data.images import ImageSet, ImageShape
from simkit.data.load import load
from simkit.data.source import Split

__all__ = ["ImageSet", "ImageShape", "Split", "load", "unlabelled"]
