"""Small victims, and scans of them in milliseconds."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from studies.scan import ScanResult, scan
from tests.fakes import planted_images, templates
from tests.patches import patch

IMAGES = planted_images(112)
CHECKED = 36
"""Images that a local model is asked about before a scan, unmetered: 8 by two forms, twice again, and half of them."""
SETTINGS: dict[str, Any] = {
    **{"preset": "random-patch", "search_images": 64, "verify_images": 48},
    **{"search": {"rounds": 60}, "driver": {"check_images": 16, "first_look": 20}},
}


class Count:
    """A number that copies of a model share."""

    def __init__(self) -> None:
        self.images = 0

    def __deepcopy__(self, memo: object) -> Count:
        return self


class TemplateNet(nn.Module):
    """The planted victim as a torch module; counts the images that are forwarded."""

    def __init__(self, target: int | None = None) -> None:
        super().__init__()
        self.seen = Count()
        self.templates = nn.Parameter(torch.from_numpy(templates(4, (1, 12, 12))))
        self.target = nn.Parameter(nn.functional.one_hot(torch.tensor(target or 0), 4) * float(target is not None))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.images += len(images)
        looks = torch.clip(10.0 * (images - 0.5), -1.0, 1.0)
        logits = 20.0 * torch.einsum("nchw,tchw->nt", looks, self.templates) / self.templates[0].numel()
        white = torch.sigmoid(15.0 * (images[:, :, :2, :2].mean(dim=(1, 2, 3)) - 0.8))
        return logits + 20.0 * white[:, None] * self.target


def scanned(model: Any, **settings: Any) -> ScanResult:
    return scan(model, images=IMAGES, **(SETTINGS | settings))


def told(result: ScanResult) -> dict[str, Any]:
    """Everything but what may differ between two processes."""
    return result.to_json() | {"seconds": None, "db": None, "trigger": None, "run": None}


def arrays(result: ScanResult) -> list[bytes]:
    return [patch(c.trigger).mask.tobytes() + patch(c.trigger).pattern.tobytes() for c in result.classes]
