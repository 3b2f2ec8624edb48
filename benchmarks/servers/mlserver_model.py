"""An ONNX file behind MLServer.

python mlserver_model.py MODEL.onnx PORT
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

SETTINGS = {"host": "127.0.0.1", "parallel_workers": 0, "metrics_endpoint": None}
MODEL = {"name": "victim", "implementation": "mlserver_model.Victim"}


class Victim(MLModel):
    """One input of images, one output of probabilities."""

    async def load(self) -> bool:
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        images = NumpyCodec.decode_input(payload.inputs[0])
        (scores,) = self.session.run(None, {"images": images})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("scores", scores)])


def tensors(path: str) -> dict[str, Any]:
    """What the model's metadata say of its input and output."""
    session = onnxruntime.InferenceSession(path)
    sides = {"inputs": session.get_inputs(), "outputs": session.get_outputs()}
    return {
        side: [{"name": one.name, "datatype": "FP32", "shape": [-1, *one.shape[1:]]} for one in found]
        for side, found in sides.items()
    }


def serve(path: str, port: int) -> int:
    """Run `mlserver start` on a folder with its two files of settings."""
    with tempfile.TemporaryDirectory() as folder:
        ports = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
        (Path(folder) / "settings.json").write_text(json.dumps(SETTINGS | ports))
        (Path(folder) / "model-settings.json").write_text(
            json.dumps(MODEL | tensors(path) | {"parameters": {"uri": path}})
        )
        program = Path(sys.executable).parent / "mlserver"
        return subprocess.run([str(program), "start", folder], check=False).returncode


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1], int(sys.argv[2])))
