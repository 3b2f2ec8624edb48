"""The torch operators that a model file may call: one list for TorchScript and torch.export; every other is refused.

Listed are the tensor operators that classifiers are made of, as far as torch checks the sizes and indices that it is
given. Not listed, on purpose: whatever opens files or sends messages, makes sparse, quantised or nested tensors,
resizes memory or reads it in another shape without a check (`set_`, `resize_`, `_reshape_alias`, `_unsafe_*`), kernels
that trust the operator in front of them (`native_batch_norm`, `_scaled_dot_product_flash_attention_for_cpu`), and
scales that no index can be computed with.
"""

from __future__ import annotations

_POINTWISE = """
    abs acos acosh add addcdiv addcmul alpha_dropout asin asinh atan atan2 atanh celu ceil clamp clamp_max clamp_min
    clip cos cosh deg2rad div divide dropout elu eq erf erfc exp exp2 expm1 feature_alpha_dropout feature_dropout fill
    floor floor_divide fmod frac ge gelu glu gt hardshrink hardsigmoid hardswish hardtanh isfinite isinf isnan le
    leaky_relu lerp log log10 log1p log2 log_sigmoid logaddexp logical_and logical_not logical_or logical_xor logit lt
    masked_fill maximum minimum mish mul multiply nan_to_num ne neg negative pow prelu reciprocal relu relu6 remainder
    round rrelu rsqrt rsub selu sgn sigmoid sign silu sin sinc sinh softplus softshrink sqrt square sub subtract tan
    tanh threshold true_divide trunc where xlogy zero zeros_like ones_like full_like empty_like __and__ __or__ __xor__
    __iand__ __ior__ bitwise_and bitwise_not bitwise_or bitwise_xor
"""
_REDUCTIONS = """
    all amax amin aminmax any argmax argmin argsort count_nonzero cummax cumprod cumsum linalg_vector_norm log_softmax
    logcumsumexp logsumexp max mean median min mode nanmean nansum norm prod softmax sort std std_mean sum topk var
    var_mean _softmax _log_softmax cosine_similarity pairwise_distance cdist
"""
_LAYERS = """
    _convolution adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d adaptive_avg_pool3d
    addbmm addmm addmv addr affine_grid_generator avg_pool1d avg_pool2d baddbmm batch_norm bilinear bmm
    constant_pad_nd conv1d conv2d conv_transpose1d conv_transpose2d convolution dot einsum embedding grid_sampler
    group_norm inner instance_norm layer_norm linear matmul max_pool1d max_pool2d mm mv outer pad reflection_pad1d
    reflection_pad2d replication_pad1d replication_pad2d rms_norm scaled_dot_product_attention tensordot
    _native_multi_head_attention _adaptive_avg_pool2d
"""
_SHAPES = """
    adjoint alias atleast_1d atleast_2d atleast_3d broadcast_tensors broadcast_to cat channel_shuffle chunk clone
    column_stack concat concatenate contiguous copy detach diagonal dsplit dstack expand expand_as flatten flip fliplr
    flipud hsplit hstack im2col lift_fresh_copy lift_fresh matrix_H meshgrid moveaxis movedim mT narrow
    native_channel_shuffle numpy_T permute pixel_shuffle pixel_unshuffle ravel repeat reshape reshape_as roll rot90
    select slice split split_with_sizes squeeze stack swapaxes swapdims t tensor_split tile to transpose tril triu
    type_as unbind unflatten unfold unsqueeze unsafe_chunk unsafe_split unsafe_split_with_sizes view_as vsplit vstack
    numel size stride dim sym_size sym_numel is_contiguous is_floating_point element_size storage_offset is_same_size
"""
_INDICES = "gather index index_select scatter take_along_dim one_hot index_put"
_CREATED = """
    arange empty full linspace new_empty new_full new_ones new_zeros ones scalar_tensor zeros eye tril_indices
    triu_indices tensor bernoulli rand_like randn_like
"""
_NUMBERS = """
    Bool Float FloatImplicit Int IntImplicit ScalarImplicit __contains__ __derive_index __getitem__ __is__ __isnot__
    __not__ __range_length append copy_ count cpu cuda dict extend find floordiv format get index insert
    is_grad_enabled items item keys len list str endswith startswith mathremainder percentFormat pop set_grad_enabled
    values warn _set_item lower upper __round_to_zero_floordiv __lshift__ __rshift__ is_scripting has_torch_function
    _assert_async _assert_scalar _assert_tensor_metadata sym_constrain_range_for_size sym_constrain_range strip
    replace join promote_types is_autocast_enabled is_autocast_cpu_enabled result_type can_cast is_complex is_nonzero
"""
_UPSAMPLING = """
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_bicubic2d
    upsample_trilinear3d _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d
    _upsample_bilinear2d_aa _upsample_bicubic2d_aa _upsample_lanczos2d_aa
"""
_ONLY = {
    **dict.fromkeys(_UPSAMPLING.split(), frozenset({"", "vec"})),
    "view": frozenset({""}),
    "_unsafe_view": frozenset({""}),
}
"""Operators of which some overloads alone are harmless; `view` may not read the bytes of a tensor as another type."""

_ANY_OVERLOAD = frozenset(" ".join((_REDUCTIONS, _LAYERS, _SHAPES, _INDICES, _CREATED, _NUMBERS)).split())
_ALSO_IN_PLACE = frozenset(
    (*_POINTWISE.split(), "bernoulli", "copy", "detach", "index_put", "squeeze", "unsqueeze", "t", "transpose")
)
"""Operators that may also write into their first tensor (`add_`), whose size they do not change."""

_OUT = frozenset({("div", "out")})
"""Overloads that give another tensor's memory the result's size: the one in torch.nn.functional.normalize."""

_WORDS = """
    Constant ListConstruct ListUnpack TupleConstruct TupleUnpack TupleIndex TupleSlice DictConstruct If Loop GetAttr
    SetAttr CallMethod CallFunction CreateObject RaiseException Uninitialized unchecked_cast isinstance NumToTensor
    device dtype layout is_cuda requires_grad data type min max abs rangelist Enter Exit unchecked_unwrap_optional
    Return shape is_nested is_sparse is_quantized is_mkldnn is_meta is_xpu is_mps
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
    return name in _ANY_OVERLOAD or name.removesuffix("_") in _ALSO_IN_PLACE


def argument_allowed(name: str, value: object) -> bool:
    """Whether an argument of this name may have this value, which the file must state as a constant.

    New tensors are dense, and a scale beside a size is one that the kernels can compute indices with.
    """
    if name == "layout":
        return value in (None, 0)
    return value is None or (isinstance(value, float) and 2**-6 <= value <= 2**6)


CONSTANT = frozenset({"layout", "scales", "scales_h", "scales_w", "scales_d"})
"""Arguments that `argument_allowed` decides on."""


def known(name: str) -> bool:
    """Whether some overload of `aten::name` is allowed."""
    return name in _ONLY or allowed("aten", name)
