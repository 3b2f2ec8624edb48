"""The settings of B3D that presets use, and why they are what they are."""

from __future__ import annotations

from dataclasses import replace

from simkit.search.b3d import B3DConfig
from simkit.search.sparsity import SparsityConfig

# Chosen on tune victims: large steps of the pattern and of Adam, and a high sparsity weight from the start. B3D-SS and
# the environment were measured with these settings.
B3D_50 = B3DConfig(
    samples=50,
    images=1,
    steps=114,
    sigma=1.0,
    learning_rate=0.2,
    mask_limit=3.0,
    grid=16,
    baseline="leave_one_out",
    joint=True,
    antithetic=True,
    exact_sparsity=True,
    sparsity=SparsityConfig(
        weight=1e-2,
        mode="proportional",
        raise_by=1.22,
        lower_by=1.1,
        required_success=0.8,
        smoothing=0.6,
        least=1e-3,
        most=0.3,
    ),
)

# Ten samples in twice as many steps of half the length: for at most 25,000 queries they detect more of the tune victims
# than twenty samples, and than longer steps (benchmarks/b3d_variants.py, results/b3d-variants.jsonl).
B3D = replace(B3D_50, samples=10, steps=220, check_every=20, learning_rate=0.1)

# With label-only answers the loss lies in [0, 1], a tenth of a typical cross-entropy; with a sparse initial mask it
# would be 1 everywhere.
B3D_LABELS_100 = replace(
    B3D_50,
    samples=100,
    steps=120,
    mask_init=0.0,
    sparsity=replace(B3D_50.sparsity, weight=1e-3, least=1e-4, most=0.03),
)

# Most steps of most classes have no sample that works, and masks must not be emptied there for their size alone.
B3D_LABELS = replace(
    B3D_LABELS_100,
    samples=20,
    steps=200,
    check_every=20,
    sparsity=replace(B3D_LABELS_100.sparsity, mode="working"),
)
