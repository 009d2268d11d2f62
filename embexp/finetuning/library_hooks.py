"""Every private or undocumented part of a library that fine-tuning relies on, with the reason.

A new version of a library may change these without notice; each is checked by a test, so that an upgrade that
removes one fails there and names the place that needs work.
"""

from __future__ import annotations

from typing import NamedTuple

VERSIONS = {"torch": "2.13", "transformers": "5.23", "sentence-transformers": "6.2", "peft": "0.21"}
"""The versions that the hooks were last checked against."""


class Hook(NamedTuple):
    """A part of a library: ``module:attribute``, the file that uses it, and why nothing public serves."""

    target: str
    used_in: str
    reason: str


_TRAINER = "transformers.trainer:Trainer"
_GRADCACHE = "sentence_transformers.base.losses.gradcache"
_LOSSES = "sentence_transformers.sentence_transformer.losses"

HOOKS = (
    Hook(
        f"{_TRAINER}._save",
        "training_loop.py",
        "overridden: a checkpoint holds weights as safetensors, not a whole model folder",
    ),
    Hook(f"{_TRAINER}._load_from_checkpoint", "training_loop.py", "overridden: the other side of _save"),
    Hook(
        f"{_TRAINER}._load_optimizer_and_scheduler",
        "training_loop.py",
        "overridden: after a divergence, the peak learning rate differs from the checkpoint's",
    ),
    Hook(
        "torch.optim.lr_scheduler:LRScheduler.get_last_lr",
        "training_loop.py",
        "the learning rate after such a change is set in _last_lr, base_lrs and lr_lambdas",
    ),
    Hook(
        "sentence_transformers:SentenceTransformerTrainer.add_model_card_callback",
        "distributed/gradients.py",
        "overridden: the automatic model card quotes training data and queries the Hub",
    ),
    Hook(
        "sentence_transformers.base.losses.merged_forward:column_merging_disabled",
        "distributed/gradients.py",
        "on a CPU, merged columns pad queries to the passages' length; no public switch",
    ),
    Hook(
        "torch.cpu:_is_avx512_bf16_supported",
        "../models/precision.py",
        "no public query for bf16 units",
    ),
    Hook(
        "torch.cpu:_is_amx_tile_supported",
        "../models/precision.py",
        "no public query for bf16 units",
    ),
    Hook(
        f"{_GRADCACHE}:CachedLossMixin",
        "losses/mini_batches.py, distributed/batch_sharing.py",
        "GradCache for losses that the library has no cached variant of; whole batches in calculate_loss",
    ),
    Hook(
        f"{_GRADCACHE}:has_static_embedding_input", "losses/mini_batches.py", "such models cannot be cached"
    ),
    Hook(f"{_GRADCACHE}:uses_gradient_cache", "losses/mini_batches.py", "such losses are cached already"),
    Hook(
        f"{_LOSSES}:MultipleNegativesRankingLoss.compute_loss_from_embeddings",
        "losses/mini_batches.py",
        "the loss as a function of embeddings, for GradCache; other losses have it, too",
    ),
    Hook(
        "torch.nn.functional:dropout",
        "cpu.py",
        "replaced within a block: torch's function modes do not apply in backward",
    ),
    Hook(
        "torch.distributed:ProcessGroupGloo",
        "distributed/process_group.py",
        "a process group beside torch's default one, which transformers and accelerate would act on",
    ),
    Hook(
        "torch._C._distributed_c10d:PrefixStore",
        "distributed/process_group.py",
        "as above; ProcessGroupNCCL with Options._timeout on GPUs",
    ),
    Hook("torch.distributed.rendezvous:rendezvous", "distributed/process_group.py", "as above"),
    Hook(
        "transformers:PreTrainedModel.set_attn_implementation",
        "../models/forward_pass.py",
        "public, but the present implementation is only in config._attn_implementation",
    ),
    Hook(
        "sentence_transformers.base.modules:Transformer._infer_flatten_position_offset",
        "../models/packing.py",
        "the first position of a text differs between families of models; the library packs for GPUs only",
    ),
    Hook(
        "peft.tuners.lora:LoraModel.merge_and_unload",
        "parameter_efficient.py",
        "peft leaves peft_config on the model, which is removed so that saving looks for no adapter",
    ),
)
