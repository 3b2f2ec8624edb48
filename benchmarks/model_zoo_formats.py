"""Networks of torchvision and timm, saved in every graph format and opened again, against the module's own answers.

python benchmarks/model_zoo_formats.py --out results/model_formats.jsonl

One line per network, written when it is done; networks that the file already has are left out, so an interrupted run
goes on. The reader is on its own, without the sandbox around it. TorchScript is traced, and scripted where torch can
script the network. `gap` is the largest difference of a score from the module's own, as a share of its largest score.
Weights are random, and nothing is downloaded.
"""

from __future__ import annotations

import gc
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import nn

from oracles.errors import one_line
from oracles.model_files import Description, load_model
from oracles.model_files.architectures import find_architecture
from oracles.oracle import ImageShape
from studies.cli.model_writers import write_exported, write_onnx
from studies.cli.output import print_table
from studies.cli.scripts import run
from studies.scan.run_key import environment

SIDES = {"torchvision:inception_v3": 299, "timm:crossvit_9_240": 240, "timm:botnet26t_256": 256}
TORCHVISION = """
    alexnet vgg11_bn resnet18 resnext50_32x4d densenet121 squeezenet1_0 googlenet inception_v3 mobilenet_v2
    mobilenet_v3_small shufflenet_v2_x0_5 mnasnet0_5 efficientnet_b0 efficientnet_v2_s regnet_y_400mf regnet_x_400mf
    convnext_tiny vit_b_32 swin_t swin_v2_t maxvit_t
"""
TIMM = """
    seresnet18 ecaresnet26t vit_tiny_patch16_224 deit_tiny_patch16_224 mixer_s32_224 resmlp_12_224 convnext_atto
    convnextv2_atto efficientnet_lite0 mobilenetv3_small_050 ghostnet_050 hrnet_w18_small dla34 cspresnet50 rexnet_100
    levit_128s poolformer_s12 edgenext_xx_small mobilevit_xxs efficientformer_l1 xcit_nano_12_p8_224 crossvit_9_240
    swin_tiny_patch4_window7_224 repvgg_a0 fastvit_t8 botnet26t_256 pvt_v2_b0 coat_lite_tiny nest_tiny volo_d1_224
"""
NETWORKS = [f"torchvision:{name}" for name in TORCHVISION.split()] + [f"timm:{name}" for name in TIMM.split()]
CLASSES, MOST = 10, 1e-3
COLUMNS = ("network", "trace", "script", "export", "onnx")

Writer = Callable[[nn.Module, torch.Tensor, Path], None]


def main(
    networks: Annotated[list[str] | None, typer.Argument(help="Names such as timm:levit_128s; all of them.")] = None,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file that gets a line per network.")] = None,
) -> None:
    done = [] if out is None or not out.exists() else [json.loads(text) for text in out.read_text().splitlines()]
    known = {line["network"] for line in done}
    for line in lines(name for name in networks or NETWORKS if name not in known):
        done.append(line)
        typer.echo(json.dumps(line))
        if out is not None:
            with out.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line | {"environment": environment()}) + "\n")
    print_table([{name: shown(line[name]) for name in COLUMNS} for line in done], COLUMNS)
    if wrong := [line["network"] for line in done if any(disagrees(line[name]) for name in COLUMNS[1:])]:
        typer.echo(f"not opened, or other answers: {', '.join(wrong)}")
        raise typer.Exit(1)


def lines(names: Iterable[str]) -> Iterable[dict[str, Any]]:
    """What became of each network, one at a time."""
    for name in names:
        started, shape = time.perf_counter(), (3, SIDES.get(name, 224), SIDES.get(name, 224))
        torch.manual_seed(0)
        module = with_scores(find_architecture(name, {})(shape, CLASSES).eval().requires_grad_(False))
        line: dict[str, Any] = {"network": name, "parameters": sum(weight.numel() for weight in module.parameters())}
        with tempfile.TemporaryDirectory(prefix="simkit-networks-") as folder:
            for format, (suffix, write) in WRITERS.items():
                line[format] = opened(module, shape, write, Path(folder) / f"{format}{suffix}")
        yield line | {"seconds": round(time.perf_counter() - started)}
        del module
        gc.collect()


def with_scores(module: nn.Module) -> nn.Module:
    """The module, with random weights where all are zero: some networks begin with a last layer that gives no score."""
    for weight in module.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.02)
    return module


def opened(module: nn.Module, shape: ImageShape, write: Writer, path: Path) -> dict[str, Any]:
    """`gap` where the file could be written and read; else what the writer or the reader said."""
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of exporters about their own future
        try:
            write(module, images, path)
        except Exception as error:  # exporters raise errors of any type
            return {"not_written": one_line(error)[:200]}
    try:
        read = load_model(path, {}, Description(image_shape=shape, n_classes=CLASSES), trusted=True).module
        with torch.inference_mode():
            own, other = first(module(images)), first(read(images))
    except Exception as error:  # a reader that fails is what this looks for
        return {"refused": one_line(error)[:300].replace(str(path), path.name)}
    return {"gap": float((own - other).abs().max() / own.abs().max())}


def first(answer: Any) -> torch.Tensor:
    """The scores, where a network returns those of auxiliary classifiers as well."""
    scores: torch.Tensor = answer if isinstance(answer, torch.Tensor) else answer[0]
    return scores


def write_traced(module: nn.Module, images: torch.Tensor, path: Path) -> None:
    trace: Callable[..., Any] = torch.jit.trace
    trace(module, images, check_trace=False).save(str(path))


def write_scripted(module: nn.Module, images: torch.Tensor, path: Path) -> None:
    script: Callable[..., Any] = torch.jit.script
    script(module).save(str(path))


WRITERS: dict[str, tuple[str, Writer]] = {
    "trace": (".pt", write_traced),
    "script": (".pt", write_scripted),
    "export": (".pt2", write_exported),
    "onnx": (".onnx", write_onnx),
}


def disagrees(result: dict[str, Any]) -> bool:
    return "refused" in result or not result.get("gap", 0.0) <= MOST


def shown(result: str | dict[str, Any]) -> str:
    if isinstance(result, str):
        return result
    return "not written" if "not_written" in result else "refused" if "refused" in result else f"{result['gap']:.0e}"


if __name__ == "__main__":
    run(main, __doc__)
