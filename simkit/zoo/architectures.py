"""The names of the victims' architectures, which specs are checked against without torch, which is slow to import."""

ARCHITECTURES = ("conv4", "flat", "resnet8", "resnet9", "resnet18")
"""Each is a builder of `simkit.zoo.networks`."""
