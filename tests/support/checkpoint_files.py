"""Published VQGANs of small width: taming's own classes, written in each layout by hand."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file
from taming.modules.diffusionmodules.model import Decoder, Encoder
from taming.modules.vqvae.quantize import GumbelQuantize, VectorQuantizer2
from torch import nn

from holohisto.errors import HolohistoError
from holohisto.tokenizer.published import load

LIGHTNING = {"epoch": 3, "global_step": 77, "optimizer_states": [{"state": {}}], "callbacks": {}}
FOREIGN = {
    "loss.discriminator.main.0.weight": (4, 3, 4, 4),
    "loss.logvar": (),
    "model_ema.encoderconv_inweight": (32, 3, 3, 3),
    "model_ema.decay": (),
    "colorize": (3, 4, 1, 1),
}


class Published(nn.Module):
    """What `taming.models.vqgan.VQModel` is, without Lightning and its losses."""

    def __init__(self, attention: bool = False, gumbel: bool = False, **changes):
        super().__init__()
        self.attention, self.gumbel = attention, gumbel
        self.ddconfig = {
            "double_z": False,
            "z_channels": 6,
            "resolution": 256,
            "in_channels": 3,
            "out_ch": 3,
            "ch": 32,
            "ch_mult": [1, 2, 3],
            "num_res_blocks": 2,
            "attn_resolutions": [64] if attention else [],
            "dropout": 0.0,
        } | changes
        self.n_embed, self.embed_dim = 40, 6 if gumbel else 5
        torch.manual_seed(0)
        self.encoder, self.decoder = Encoder(**self.ddconfig), Decoder(**self.ddconfig)
        if not attention:  # latent-diffusion's attn_type none
            self.encoder.mid.attn_1 = nn.Identity()
            self.decoder.mid.attn_1 = nn.Identity()
        self.quant_conv = nn.Conv2d(self.ddconfig["z_channels"], self.embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(self.embed_dim, self.ddconfig["z_channels"], 1)
        if gumbel:
            self.quantize = GumbelQuantize(self.embed_dim, self.embed_dim, self.n_embed)
        else:
            self.quantize = VectorQuantizer2(self.n_embed, self.embed_dim, beta=0.25)
        for weight in self.parameters():  # fresh norms are all ones
            if weight.ndim == 1:
                nn.init.normal_(weight, 0.5, 0.5)
        self.eval().requires_grad_(False)
        if not gumbel:  # codes that are used
            side = 4 * 2 ** len(self.ddconfig["ch_mult"])
            latents = self.latents(torch.rand(1, 3, side, side) * 2 - 1).flatten(2)[0].T
            self.quantize.embedding.weight.copy_(latents[: self.n_embed])

    def latents(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, d, H/f, W/f)."""
        return self.quant_conv(self.encoder(x))


def yaml_of(network: Published) -> dict:
    kind = "taming.models.vqgan.GumbelVQ" if network.gumbel else "taming.models.vqgan.VQModel"
    ddconfig = dict(network.ddconfig)
    if not network.attention:
        kind, ddconfig["attn_type"] = "ldm.models.autoencoder.VQModelInterface", "none"
    params = {"embed_dim": network.embed_dim, "n_embed": network.n_embed, "monitor": "val/rec_loss"}
    loss = {"target": "taming.modules.losses.DummyLoss"}
    params |= {"ddconfig": ddconfig, "lossconfig": loss}
    return {"model": {"base_learning_rate": 4.5e-06, "target": kind, "params": params}}


def write_taming(folder: Path, network: Published, **records) -> Path:
    """A Lightning checkpoint of a whole training, with its yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    foreign = {name: torch.zeros(shape) for name, shape in FOREIGN.items()}
    content = {**LIGHTNING, "state_dict": {**network.state_dict(), **foreign}, **records}
    torch.save(content, folder / "last.ckpt")
    (folder / "model.yaml").write_text(yaml.safe_dump(yaml_of(network)))
    return folder / "last.ckpt"


def openmuse_config(network: Published) -> dict:
    options = network.ddconfig
    return {
        "_class_name": "VQGANModel",
        "_version": "0.0.1",
        "commitment_cost": 0.25,
        "dropout": 0.0,
        "attn_resolutions": options["attn_resolutions"],
        "channel_mult": options["ch_mult"],
        "hidden_channels": options["ch"],
        "no_attn_mid_block": not network.attention,
        "num_channels": 3,
        "num_embeddings": network.n_embed,
        "resample_with_conv": True,
        "num_res_blocks": options["num_res_blocks"],
        "quantized_embed_dim": network.embed_dim,
        "resolution": options["resolution"],
        "z_channels": options["z_channels"],
    }


def write_openmuse(folder: Path, network: Published) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(openmuse_config(network)))
    return folder


def diffusers_config(network: Published) -> dict:
    options, attends = network.ddconfig, [network.attention * (n == 2) for n in range(3)]
    return {
        "_class_name": "VQModel",
        "_diffusers_version": "0.25.0.dev0",
        "act_fn": "silu",
        "block_out_channels": [options["ch"] * m for m in options["ch_mult"]],
        "down_block_types": ["Attn" * a + "DownEncoderBlock2D" for a in attends],
        "up_block_types": ["Attn" * a + "UpDecoderBlock2D" for a in reversed(attends)],
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": options["z_channels"],
        "layers_per_block": options["num_res_blocks"],
        "lookup_from_codebook": True,
        "mid_block_add_attention": network.attention,
        "norm_num_groups": 32,
        "norm_type": "group",
        "num_vq_embeddings": network.n_embed,
        "sample_size": 32,
        "scaling_factor": 0.18215,
        "vq_embed_dim": network.embed_dim,
        "force_upcast": True,
    }


NEW_ATTENTION = {
    "norm": "group_norm",
    "q": "to_q",
    "k": "to_k",
    "v": "to_v",
    "proj_out": "to_out.0",
}
OLD_ATTENTION = {
    "norm": "group_norm",
    "q": "query",
    "k": "key",
    "v": "value",
    "proj_out": "proj_attn",
}


def diffusers_state(network: Published, attention: dict[str, str]) -> dict[str, torch.Tensor]:
    levels = len(network.ddconfig["ch_mult"])
    state = {}
    for name, weight in network.state_dict().items():
        parts = name.split(".")
        if parts[1] in ("down", "up"):
            side, level = parts[1], int(parts[2])
            place = level if side == "down" else levels - 1 - level
            if parts[3] == "block":
                layer = "conv_shortcut" if parts[5] == "nin_shortcut" else parts[5]
                inner = ["resnets", parts[4], layer, parts[-1]]
            elif parts[3] == "attn":
                inner = ["attentions", parts[4], attention[parts[5]], parts[-1]]
            else:
                inner = [f"{side}samplers", "0", "conv", parts[-1]]
            parts = [parts[0], f"{side}_blocks", str(place), *inner]
        elif parts[1] == "mid":
            if parts[2] == "attn_1":
                inner = ["attentions", "0", attention[parts[3]], parts[-1]]
            else:
                inner = ["resnets", str(int(parts[2][-1]) - 1), *parts[3:]]
            parts = [parts[0], "mid_block", *inner]
        elif parts[1] == "norm_out":
            parts[1] = "conv_norm_out"
        if "attentions" in parts and weight.ndim == 4:
            weight = weight[:, :, 0, 0]
        state[".".join(parts)] = weight.contiguous()
    return state


def write_diffusers(folder: Path, network: Published, old: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    state = diffusers_state(network, OLD_ATTENTION if old else NEW_ATTENTION)
    if old:
        torch.save(state, folder / "diffusion_pytorch_model.bin")
    else:
        save_file(state, folder / "diffusion_pytorch_model.safetensors")
    (folder / "config.json").write_text(json.dumps(diffusers_config(network)))
    return folder


WRITERS = {"taming": write_taming, "openmuse": write_openmuse, "diffusers": write_diffusers}
RANGES = {"taming": "-1..1", "openmuse": "0..1", "diffusers": "0..1"}
"""The range of the pixels of each layout."""


def refusal(path: Path, **options) -> str:
    """The one line that reading ends in."""
    with pytest.raises(HolohistoError) as caught:
        load.read(path, **options)
    lines = str(caught.value).splitlines()
    assert len(lines) == 1
    return lines[0]


class Evil:
    """Unpickles to a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call
