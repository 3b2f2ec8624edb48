"""A torch model as an oracle: batch norms folded, channels-last, in chunks that fit the CPU cache."""

from __future__ import annotations

import contextlib
import copy
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, Thread

import torch
from torch import nn

from oracles.agreement import check_images, faithful, unsteady
from oracles.answers import Answer, Scores
from oracles.decision import Decision, decided
from oracles.errors import InvalidSpec, ModelError, one_line
from oracles.fold import Prepared, as_it_is, prepare, rows_of_last_weight
from oracles.oracle import ImageShape, Tag, check_shape
from oracles.partial import carrying
from oracles.returned import classes_of_width, rows_of, too_many_or_few
from oracles.rows import as_probabilities, evidence
from oracles.taken import as_taken
from oracles.torch_options import PLAIN, Output, TorchOptions

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SUM_TOLERANCE = {"float32": 1e-3, "bfloat16": 1e-2}
"""How far the sum of a row of probabilities may be from 1 that shows no rounding."""

# Torch's messages about a wrong shape; any other error may only mean that the model cannot take an empty batch.
_WRONG_SHAPE = re.compile(
    r"channels|cannot be multiplied|must match|normalized_shape|too small|Kernel size can't", re.I
)

_OF_SIZES = re.compile(rf"shape|size|dimension|batch|broadcast|{_WRONG_SHAPE.pattern}", re.I)
"""What an error says that may come from the number of images."""

_BYTE = re.compile(r"\b(Byte|uint8)", re.ASCII)
_BYTES = "input_dtype=uint8 (--input-dtype uint8) if it takes pixels of 0..255"
_CHANNELS_LAST = "input_layout=nhwc (--input-layout nhwc) if it takes (N, height, width, channels)"
_FIXED = "or set chunk, if it takes a fixed number of images at a time"


class TorchOracle:
    """Answers all scores of a torch model, from a private copy in eval mode; the caller's module is never changed.

    model: nn.Module or ScriptModule, from float32 (N, *image_shape) to (N, n_classes); `options` says what it takes and
    returns otherwise. image_shape: (C, H, W). n_classes: checked if given, otherwise determined by an empty batch or
    from the last weight. Raises ModelError when the model cannot take such images, InvalidSpec on options that do not
    fit.
    """

    def __init__(
        self,
        model: nn.Module,
        image_shape: ImageShape,
        options: TorchOptions = PLAIN,
        n_classes: int | None = None,
    ) -> None:
        if options.output == "labels":
            raise InvalidSpec(
                "output='labels' is for a function; let this model answer scores, or wrap it in a function"
            )
        self._options, self._image_shape = options, _checked_shape(image_shape)
        self._device, self._original = _device(options.device), model
        self._model = prepare(model, self._device, DTYPES[options.precision])  # first: it reports a missing device
        self._shift = per_channel(options.mean, image_shape[0], self._device)
        self._scale = per_channel(options.std, image_shape[0], self._device)
        self._pool = self._threads()
        self._decision, self._odd = Decision(options.output), 0
        self._said: tuple[str, ...] = ()
        self._form = ""
        if options.output == "auto" and _ends_in_softmax(model):
            self._decision = Decision("probabilities", "the model ends in softmax")
        self._n_classes = self._find_classes(model, n_classes)

    @property
    def n_classes(self) -> int:
        return self._n_classes

    @property
    def image_shape(self) -> ImageShape:
        return self._image_shape

    @property
    def options(self) -> TorchOptions:
        return self._options

    @property
    def output(self) -> Output:
        """Whether the model's rows are logits or probabilities; `auto` until the first finite answer decides."""
        return self._decision.output

    @property
    def evidence(self) -> str:
        """What `output` was decided on, in words; empty while nothing was decided or if it was set."""
        return self._decision.evidence

    @property
    def odd(self) -> int:
        """How many rows were no probabilities, of this run's earlier processes as well."""
        return self._odd

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the result must know about the answers."""
        odd = f"{self._odd} of the model's rows were no probabilities; they were brought to a sum of 1"
        return tuple(filter(None, (*self._said, self._decision.note, odd if self._odd else "")))

    @property
    def form(self) -> str:
        """Which form of the model answers: our faster one, or the model as it is."""
        return self._form

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        """See `Oracle.query`. The range of the pixels is checked by `Metered`, not here.

        Raises ModelError if the model fails, answers another shape than (N, n_classes), or if its first rows should be
        probabilities and are not; later ones are brought to a sum of 1, see `notes`. NaN is a valid answer. Whatever
        is raised carries the answer to the chunks before, see `oracles.partial`.
        """
        check_shape(images, self._image_shape)
        chunks, answered = torch.split(images, self._options.chunk), list[torch.Tensor]()
        try:
            answered.extend(self._pool.map(self._forward, chunks) if self._pool else map(self._forward, chunks))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                self._model.stop()  # else the threads would wait for a model that may never return
            raise self._with_answered(error, answered) from error.__cause__
        return self._scores(answered)

    def _in_chunks(self, images: torch.Tensor) -> torch.Tensor:
        """What the model itself answers, float32 (N, T), chunk by chunk. Raises ModelError."""
        return torch.cat([self._forward(chunk) for chunk in torch.split(images, self._options.chunk)])

    def _scores(self, rows: list[torch.Tensor]) -> Scores:
        return Scores(self._probabilities(torch.cat(rows)).numpy())

    def _with_answered(self, error: BaseException, rows: list[torch.Tensor]) -> BaseException:
        """The error that ended a call, with the answer to the chunks before, if there are any and they are valid."""
        if rows:
            with contextlib.suppress(ModelError):
                scores = self._scores(rows)
                if isinstance(error, ModelError):
                    error = ModelError(f"{error}; the {len(scores)} images before these were answered")
                return carrying(error, scores, self)
        return error

    def _threads(self) -> ThreadPoolExecutor | None:
        """One torch thread per chunk: faster than all threads on one small chunk, and bitwise independent of their
        number."""
        threads = torch.get_num_threads()
        if threads == 1 or self._device.type != "cpu" or not self._model.parallel:
            return None
        return _pool_of_single(threads)

    def _forward(self, images: torch.Tensor) -> torch.Tensor:
        """The rows of a chunk. TorchScript may have a batch size baked in: its last chunk is filled up with black."""
        missing = self._options.chunk - len(images)
        try:
            return self._rows(images)
        except ModelError:
            if self._model.eager or missing <= 0:
                raise
            filled = torch.cat([images, images.new_zeros(missing, *images.shape[1:])])
            with contextlib.suppress(ModelError):
                return self._rows(filled)[: len(images)]
            raise

    def _rows(self, images: torch.Tensor) -> torch.Tensor:
        try:
            rows = self._model(self._placed(images))
        except ModelError:
            raise
        except Exception as error:
            shape = tuple(images.shape)
            sized = f"run it on one batch by hand, {_FIXED}" if _OF_SIZES.search(str(error)) else ""
            advice = f"{self._bytes(error)}{sized}".removesuffix(", ")
            said = f"the model failed on images {shape}: {one_line(error)}"
            raise ModelError(f"{said}; {advice}" if advice else said) from error
        return rows_of(rows, len(images), self._options, self._n_classes)

    def _placed(self, images: torch.Tensor) -> torch.Tensor:
        """A normalised copy, in the layout and type of the model, which the model may overwrite."""
        images = images.to(device=self._device, memory_format=self._model.layout, copy=True)
        if self._shift is not None and self._scale is not None:
            images = images.sub_(self._shift).div_(self._scale)
        return as_taken(images.to(self._model.dtype), self._options, self._model.layout)

    def _find_classes(self, model: nn.Module, given: int | None) -> int:
        self._n_classes = -1  # accept any number of columns while it is unknown
        try:
            answered: int | None = self._rows_of_nothing().shape[1]
        except ModelError as error:
            if error.__cause__ is None or self._bytes(error.__cause__):
                raise
            if _WRONG_SHAPE.search(str(error.__cause__)):
                wanted = ", ".join(map(str, self._image_shape))
                raise ModelError(
                    f"the model does not take images (N, {wanted}), the size of the data: {one_line(error.__cause__)}; "
                    f"give other data, set image_size for another height and width{self._other_layout()}, {_FIXED}"
                ) from error
            answered = given
            if given is None and (width := rows_of_last_weight(model)) is not None:
                answered = classes_of_width(width, self._options.output)
        if answered is None or answered < 2:
            raise ModelError(f"the model has {answered or 'an unknown number of'} classes; give n_classes, 2 or more")
        if given is not None and given != answered:
            raise ModelError(too_many_or_few(answered, given))
        return answered

    def _bytes(self, error: BaseException) -> str:
        """The advice to give the model bytes, if this error may mean that it takes them."""
        asks = self._options.input_dtype != "uint8" and _BYTE.search(str(error))
        return f"set {_BYTES}, " if asks else ""

    def _other_layout(self) -> str:
        return "" if self._options.input_layout == "nhwc" else f", set {_CHANNELS_LAST}"

    def _rows_of_nothing(self) -> torch.Tensor:
        """The answer to an empty batch, or to a black chunk where a local model takes only as many images as that."""
        try:
            return self._rows(torch.empty(0, *self._image_shape))
        except ModelError as error:
            refused = error.__cause__ is None or _WRONG_SHAPE.search(str(error.__cause__))
            if refused and _is_local(self._original):  # a local model may be asked; another cause decides nothing
                with contextlib.suppress(ModelError):
                    return self._rows(torch.zeros(self._options.chunk, *self._image_shape))
            raise

    def _probabilities(self, rows: torch.Tensor) -> torch.Tensor:
        tolerance = SUM_TOLERANCE[self._options.precision]
        if not self._decision.settled:
            shown = evidence(rows[torch.isfinite(rows).all(dim=1)], tolerance)
            self._decision = self._decision if shown is None else decided(self._decision, shown)
        if self._decision.output != "probabilities":
            return torch.softmax(rows, dim=1)
        scores, odd = as_probabilities(rows, tolerance, self._decision.scale)
        self._odd += odd
        return scores


def decision_of(oracle: TorchOracle) -> Decision:
    """What the rows of this model are taken for, and on what."""
    return oracle._decision


def taken_for(oracle: TorchOracle, decision: Decision, odd: int = 0) -> TorchOracle:
    """The same model, not copied, whose rows are what was decided before. odd: see `TorchOracle.odd`."""
    settled = copy.copy(oracle)
    settled._options = replace(oracle.options, output=decision.output)
    settled._decision, settled._odd = replace(decision, settled=True), odd
    return settled


def check_answers(oracle: TorchOracle, images: torch.Tensor) -> None:
    """Ask a local model about a few of these images, unmetered and once, before a scan; see `oracles.agreement`.

    It is asked as a scan asks it, in chunks. Where the faster form does not give the model's answers, the model runs as
    it is from now on; where both fail, nothing is said, and the first query raises the error. A function may be a
    service that is paid for, so it is not asked; nor is a module without weights.
    """
    if oracle._form or not _is_local(oracle._original):
        return
    some, oracle._form = check_images(images), "faster"
    own = _in_form(oracle, as_it_is(oracle._original, oracle._device))
    by_chance, said = False, ""
    for form in (own, oracle):  # one of them may fail
        with contextlib.suppress(ModelError):
            by_chance, said = unsteady(form._in_chunks, some)
            break
    exact = oracle._options.precision == "float32"
    if why := faithful(oracle._in_chunks, own._in_chunks, some, by_chance=by_chance) if exact else "":
        oracle._model, oracle._pool, oracle._form = own._model, own._pool, "as it is"
        oracle._said = (*oracle._said, f"the model runs as it is: {why}")
    if said:
        oracle._said = (*oracle._said, said)


def _in_form(oracle: TorchOracle, form: Prepared) -> TorchOracle:
    """The same oracle on another form of its model."""
    other = copy.copy(oracle)
    other._model = form
    other._pool = other._threads()
    return other


def _is_local(model: nn.Module) -> bool:
    """Whether asking the model costs nothing but time: it has weights, or it was read from a file."""
    return getattr(model, "thread_safe", False) or any(True for _ in (*model.parameters(), *model.buffers()))


def _pool_of_single(threads: int) -> ThreadPoolExecutor:
    """A pool of started threads that use one torch thread each.

    New threads of the process begin with the number that any thread set last, so the old number is restored at the end.
    """
    pool, all_there = ThreadPoolExecutor(threads, "simkit-oracle", initializer=_use_one_thread), Barrier(threads)
    list(pool.map(lambda _: all_there.wait(), range(threads)))
    restoring = Thread(target=torch.set_num_threads, args=(threads,))
    restoring.start()
    restoring.join()
    return pool


def _use_one_thread() -> None:
    torch.get_num_threads()  # the first call in a thread takes over the process's number, so it must come first
    torch.set_num_threads(1)


def _ends_in_softmax(model: nn.Module) -> bool:
    while type(model) is nn.Sequential and len(model):
        model = model[-1]
    return type(model) is nn.Softmax and model.dim in (None, 1, -1)


def _checked_shape(shape: ImageShape) -> ImageShape:
    if len(shape) != 3 or min(shape) < 1:
        raise InvalidSpec(f"image_shape is {tuple(shape)}; give (channels, height, width), each 1 or more")
    return shape[0], shape[1], shape[2]


def _device(name: str) -> torch.device:
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise InvalidSpec(f"device is {name!r}; give cpu, cuda, or cuda:0") from error


def per_channel(values: tuple[float, ...] | None, channels: int, device: torch.device) -> torch.Tensor | None:
    """`mean` or `std`, as what pixels (N, C, H, W) are combined with. Raises InvalidSpec."""
    if values is None:
        return None
    if len(values) != channels:
        raise InvalidSpec(f"mean and std have {len(values)} numbers for {channels} channels; give one per channel")
    return torch.tensor(values, dtype=torch.float32, device=device).reshape(1, channels, 1, 1)
