"""An ONNX file behind NVIDIA Triton, by nvidia-pytriton.

python triton_model.py MODEL.onnx PORT
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

if __name__ == "__main__":
    path, port = sys.argv[1], int(sys.argv[2])
    session = onnxruntime.InferenceSession(path)

    @batch
    def answer(images: np.ndarray) -> list[np.ndarray]:
        return session.run(None, {"images": images})

    ports = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
    hosts = dict.fromkeys(("http_address", "grpc_address", "metrics_address"), "127.0.0.1")
    with Triton(config=TritonConfig(**ports, **hosts)) as triton:
        shapes = {"inputs": [Tensor(name="images", dtype=np.float32, shape=session.get_inputs()[0].shape[1:])]}
        shapes["outputs"] = [Tensor(name="scores", dtype=np.float32, shape=session.get_outputs()[0].shape[1:])]
        triton.bind(model_name="victim", infer_func=answer, config=ModelConfig(max_batch_size=32), **shapes)
        triton.serve()
