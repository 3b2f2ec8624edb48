"""A model that is served over HTTP, scanned as a plain function.

The server is in this file too, so that the example needs no network.
Run it: python examples/served_model.py
"""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import torch
from torch import nn

from simkit.attacks.badnets import BadNets
from simkit.attacks.patches import patch_trigger
from simkit.data import load
from simkit.zoo.networks import build_network
from simkit.zoo.train import train
from simkit.zoo.train_config import TrainConfig
from studies.scan import scan

BATCH_LIMIT = 32
"""Most images per request; larger requests are refused."""


def ask(address: str, images: np.ndarray) -> list[list[float]]:
    """The answer of the service for images float32 (N, C, H, W) in [0, 1]: N rows with the
    probabilities of all classes.
    """
    body = json.dumps(images.round(4).tolist()).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    for tries_left in (1, 0):
        # A failed request is neither charged nor recorded, so this function may try again.
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                answer: list[list[float]] = json.load(response)
                return answer
        except urllib.error.URLError:
            if not tries_left:
                raise
    raise AssertionError("not reached")


def serve(model: nn.Module) -> ThreadingHTTPServer:
    """A service on a free port of this machine, in its own thread."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            images = torch.tensor(
                json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            )
            if len(images) > BATCH_LIMIT:
                self.send_error(413, f"at most {BATCH_LIMIT} images")
                return
            with torch.inference_mode():
                scores = torch.softmax(model(images), dim=1)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(scores.tolist()).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass  # one line per request would hide the verdict

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def victim() -> nn.Module:
    """A backdoored model of the digits."""
    images = load("digits", "train")
    white_corner = patch_trigger(images.image_shape, 6, 6, np.ones((1, 2, 2), np.float32))
    poisoned = BadNets(white_corner, target_class=3).poison(images, seed=0)
    network = build_network("conv4", images.image_shape, images.n_classes, seed=0)
    return train(network, poisoned, TrainConfig(epochs=12), seed=0)


def main() -> None:
    """Serve the victim, and scan the service."""
    server = serve(victim())
    service: Callable[[np.ndarray], list[list[float]]] = partial(
        ask, f"http://127.0.0.1:{server.server_port}/"
    )
    result = scan(
        service,
        # The weights of a service are hidden, so the ledger identifies it by its name.
        name="digits-service-1",
        batch_limit=BATCH_LIMIT,
        data="digits",
        budget=5_000,
        # With a price and a rate limit the result states what a real scan would cost.
        oracle={
            "top_k": 3,
            "rate_limit": "50/second",
            "price_per_thousand": 1.5,
            "currency": "USD",
        },
        preset="random-patch",
        search={"largest_side": 2, "required_success": 0.85},
    )
    server.shutdown()
    print(f"{result.verdict} {list(result.flagged)} after {result.spent:,} queries")
    cost = f"{result.cost:.2f} {result.currency}"
    print(f"it would have cost {cost} and taken {result.api_seconds:.0f} s there")


if __name__ == "__main__":
    main()
