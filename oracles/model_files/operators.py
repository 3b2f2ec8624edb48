"""The torch operators that a model file may call: one list for TorchScript and torch.export; every other is refused.

Listed are the tensor operators that classifiers are made of, as far as torch checks the sizes and indices that it is
given. Not listed, on purpose: whatever opens files or sends messages, makes sparse, quantised or nested tensors,
resizes memory or reads it in another shape without a check (`set_`, `resize_`, `_reshape_alias`, `_unsafe_*`), kernels
that trust the operator in front of them (`native_batch_norm`, `_scaled_dot_product_flash_attention_for_cpu`), and
scales that no index can be computed with.
"""

from __future__ import annotations

_POINTWISE = """
    abs acos acosh add addcdiv addcmul alpha_dropout __and__ asin asinh atan atan2 atanh bitwise_and bitwise_not
    bitwise_or bitwise_xor ceil celu clamp clamp_max clamp_min clip cos cosh deg2rad div divide dropout elu empty_like
    eq erf erfc exp exp2 expm1 feature_alpha_dropout feature_dropout fill floor floor_divide fmod frac full_like ge
    gelu glu gt hardshrink hardsigmoid hardswish hardtanh __iand__ __ior__ isfinite isinf isnan le leaky_relu lerp log
    log10 log1p log2 log_sigmoid logaddexp logical_and logical_not logical_or logical_xor logit lt masked_fill maximum
    minimum mish mul multiply nan_to_num ne neg negative ones_like __or__ pow prelu reciprocal relu relu6 remainder
    round rrelu rsqrt rsub selu sgn sigmoid sign silu sin sinc sinh softplus softshrink sqrt square sub subtract tan
    tanh threshold true_divide trunc where xlogy __xor__ zero zeros_like
"""
_REDUCTIONS = """
    all amax amin aminmax any argmax argmin argsort cdist cosine_similarity count_nonzero cummax cumprod cumsum
    linalg_vector_norm _log_softmax log_softmax logcumsumexp logsumexp max mean median min mode nanmean nansum norm
    pairwise_distance prod _softmax softmax sort std std_mean sum topk var var_mean
"""
_LAYERS = """
    adaptive_avg_pool1d _adaptive_avg_pool2d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
    adaptive_max_pool2d addbmm addmm addmv addr affine_grid_generator avg_pool1d avg_pool2d baddbmm batch_norm
    bilinear bmm constant_pad_nd conv1d conv2d conv_transpose1d conv_transpose2d _convolution convolution
    _convolution_mode dot einsum embedding grid_sampler group_norm inner instance_norm layer_norm linear matmul
    max_pool1d max_pool2d mm mv _native_multi_head_attention outer pad reflection_pad1d reflection_pad2d
    replication_pad1d replication_pad2d rms_norm scaled_dot_product_attention tensordot
"""
_SHAPES = """
    adjoint alias atleast_1d atleast_2d atleast_3d broadcast_tensors broadcast_to cat channel_shuffle chunk clone
    col2im column_stack concat concatenate contiguous copy detach diagonal dim dsplit dstack element_size expand
    expand_as flatten flip fliplr flipud hsplit hstack im2col is_contiguous is_floating_point lift_fresh
    lift_fresh_copy matrix_H meshgrid moveaxis movedim mT narrow native_channel_shuffle numel numpy_T permute
    pixel_shuffle pixel_unshuffle ravel repeat reshape reshape_as roll rot90 select size slice split split_with_sizes
    squeeze stack storage_offset stride swapaxes swapdims sym_numel sym_size t tensor_split tile transpose tril triu
    type_as unbind unflatten unfold unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze view_as vsplit vstack
"""
_INDICES = "gather index index_select scatter take_along_dim one_hot index_put"
_CREATED = """
    arange bernoulli empty eye full linspace new_empty new_full new_ones new_zeros ones rand rand_like randn_like
    scalar_tensor tensor zeros
"""
_NUMBERS = """
    append _assert_async _assert_scalar _assert_tensor_metadata Bool __contains__ copy_ cpu cuda __derive_index dict
    endswith extend Float FloatImplicit floordiv format get __getitem__ has_torch_function index insert Int
    IntImplicit __is__ is_autocast_cpu_enabled is_autocast_enabled is_complex is_grad_enabled is_nonzero is_scripting
    __isnot__ item items keys len list __lshift__ mathremainder __not__ pop __range_length __round_to_zero_floordiv
    __rshift__ ScalarImplicit set_grad_enabled _set_item startswith str sym_constrain_range
    sym_constrain_range_for_size values warn
"""
_UPSAMPLING = """
    upsample_bicubic2d _upsample_bicubic2d_aa upsample_bilinear2d _upsample_bilinear2d_aa _upsample_lanczos2d_aa
    upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_trilinear3d
"""
_ONLY = {
    **dict.fromkeys(_UPSAMPLING.split(), frozenset({"", "vec"})),
    "to": frozenset({"device", "dtype", "dtype_layout", "other"}),
    "view": frozenset({""}),
    "_unsafe_view": frozenset({""}),
}
"""Operators of which some overloads alone are harmless.

`view` may not read the bytes of a tensor as another type; a `to` of the others calls itself without end.
"""

_ANY_OVERLOAD = frozenset(" ".join((_REDUCTIONS, _LAYERS, _SHAPES, _INDICES, _CREATED, _NUMBERS)).split())
_ALSO_IN_PLACE = frozenset(
    (*_POINTWISE.split(), "bernoulli", "copy", "detach", "index_put", "squeeze", "unsqueeze", "t", "transpose")
)
"""Operators that may also write into their first tensor (`add_`), whose size they do not change."""

_OUT = frozenset({("div", "out")})
"""Overloads that give another tensor's memory the result's size: the one in torch.nn.functional.normalize."""

_WORDS = """
    abs CallFunction CallMethod Constant CreateObject data device DictConstruct dtype Enter EnumName EnumValue Exit
    GetAttr If is_cuda is_meta is_mkldnn is_mps is_nested is_quantized is_sparse is_xpu isinstance layout
    ListConstruct ListUnpack Loop max min NumToTensor RaiseException rangelist requires_grad Return SetAttr shape
    TupleConstruct TupleIndex TupleSlice TupleUnpack type unchecked_cast unchecked_unwrap_optional Uninitialized
"""
_STATEMENTS = frozenset(_WORDS.split())
"""What plain control flow, lists, tuples and modules compile to."""


def allowed(namespace: str, name: str, overload: str = "") -> bool:
    """Whether a model file may call this operator, for instance `aten`, `add`, `Tensor`."""
    if namespace == "prim":
        return name in _STATEMENTS
    if namespace != "aten" or (overload.endswith("out") and (name, overload) not in _OUT):
        return False
    if name in _ONLY:
        return overload in _ONLY[name]
    return name in _ANY_OVERLOAD or not {name, name.removesuffix("_")}.isdisjoint(_ALSO_IN_PLACE)


def argument_allowed(name: str, value: object) -> bool:
    """Whether an argument of this name may have this value.

    New tensors are dense and of a type that torch has; a scale beside a size is one that indices can be computed with.
    """
    if name in _NUMBERED:
        return value is None or (type(value) is int and value in _NUMBERED[name])
    return value is None or (isinstance(value, float) and 2**-6 <= value <= 2**6)


_NUMBERED = {"layout": {0}, "memory_format": {0, 1, 2, 3}, "dtype": {0, 1, 2, 3, 4, 5, 6, 7, 11, 15}}
"""torch's numbers for the dense layout, memory formats, and plain types: none complex, quantised or of 8-bit floats."""

SCALES = frozenset({"scales", "scales_h", "scales_w", "scales_d"})
DECIDED = SCALES | _NUMBERED.keys()
"""Arguments that `argument_allowed` decides on: torch checks none of them."""


def known(name: str) -> bool:
    """Whether some overload of `aten::name` is allowed."""
    return name in _ONLY or allowed("aten", name)
