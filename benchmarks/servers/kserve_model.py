"""An ONNX file behind KServe's model server, run by uvicorn, since the server itself would listen on every address.

python kserve_model.py MODEL.onnx PORT
"""

from __future__ import annotations

import sys
from typing import Any

import onnxruntime
import uvicorn
from kserve import InferOutput, InferResponse, Model, ModelServer
from kserve.model_server import app
from kserve.protocol.rest.server import RESTServer


class Victim(Model):
    """One input of images, one output of probabilities."""

    def __init__(self, path: str) -> None:
        super().__init__("victim")
        self.session = onnxruntime.InferenceSession(path)
        self.ready = True

    async def get_input_types(self) -> list[dict[str, Any]]:
        return [{"name": "images", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]

    async def get_output_types(self) -> list[dict[str, Any]]:
        return [{"name": "scores", "datatype": "FP32", "shape": [-1, 10]}]

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        (scores,) = self.session.run(None, {"images": payload.inputs[0].as_numpy()})
        output = InferOutput("scores", list(scores.shape), "FP32")
        output.set_data_from_numpy(scores, binary_data=True)
        return InferResponse(payload.id, "victim", [output])


if __name__ == "__main__":
    server = ModelServer(enable_grpc=False)
    server.register_model(Victim(sys.argv[1]))
    rest = RESTServer("kserve.model_server:app", server.dataplane, server.model_repository_extension, int(sys.argv[2]))
    rest.create_application()
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
