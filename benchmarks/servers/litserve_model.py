"""An ONNX file behind LitServe: {"images": nested lists} gives {"scores": nested lists}.

{"base64": bytes of float32, "shape": their shape} gives the same in less time.

python litserve_model.py MODEL.onnx PORT
"""

# Without `from __future__ import annotations`: LitServe reads the annotation of decode_request.
import base64
import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime


class Victim(litserve.LitAPI):
    """Probabilities of images."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def setup(self, device: str) -> None:
        self.session = onnxruntime.InferenceSession(self.path)

    def decode_request(self, request: dict[str, Any]) -> Any:
        if "base64" in request:
            return np.frombuffer(base64.b64decode(request["base64"]), np.float32).reshape(request["shape"])
        return np.asarray(request["images"], np.float32)

    def predict(self, images: Any) -> Any:
        return self.session.run(None, {"images": images})[0]

    def encode_response(self, scores: Any) -> dict[str, Any]:
        return {"scores": scores.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Victim(sys.argv[1]), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")
