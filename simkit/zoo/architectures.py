"""The names of the victims' architectures, for checking specs without importing torch, which is slow."""

ARCHITECTURES = ("conv4", "flat", "resnet8", "resnet9", "resnet18", "resnet9-wide", "attention")
"""Each name is a builder in `simkit.zoo.networks`."""
