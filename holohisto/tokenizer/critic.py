"""The patch-GAN of VQGAN training (Esser et al., arXiv 2012.09841)."""

import torch
from taming.modules.discriminator.model import NLayerDiscriminator, weights_init
from torch import Tensor
from torch.nn import functional

from holohisto.config.training import TokenizerOptions
from holohisto.device import memory_format
from holohisto.tokenizer.vqgan import VQGAN


class Critic:
    """taming's discriminator with hinge loss and adaptive weight; it joins late in training."""

    def __init__(self, options: TokenizerOptions, device: torch.device) -> None:
        """Build the discriminator, unless it never joins."""
        self.start = round(options.adversarial_start * options.steps)
        self.weight = options.adversarial_weight
        if self.weight == 0 or self.start >= options.steps:
            self.start = options.steps
            return
        self.network = NLayerDiscriminator(ndf=options.channels, n_layers=2).apply(weights_init)
        self.network.to(device).to(memory_format=memory_format(device))  # pyright: ignore
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), options.learning_rate, betas=(0.5, 0.9)
        )

    def joins(self, step: int) -> bool:
        """Whether it takes part in a step, counted from 0."""
        return step >= self.start

    def generator_loss(self, model: VQGAN, reconstruction: Tensor, output: Tensor) -> Tensor:
        """Return the generator's adversarial loss, weighted as in Eq. 7 of the paper.

        Args:
            model: The generator.
            reconstruction: Scalar, its reconstruction loss, with a graph to the last layer.
            output: (B, 3, H, W) float, its reconstruction, with the same graph.

        Returns:
            Scalar.
        """
        recognised = -self.network(output).mean()
        last = model.decoder.conv_out
        by_pixels, by_critic = (
            torch.autograd.grad(loss, last.weight, retain_graph=True)[0].norm()
            for loss in (reconstruction, recognised)
        )
        return self.weight * (by_pixels / (by_critic + 1e-4)).clamp(0, 1e4).detach() * recognised

    def step(self, real: Tensor, fake: Tensor) -> None:
        """Train the discriminator on one batch of pixels and reconstructions, (B, 3, H, W) each."""
        loss = functional.relu(1 - self.network(real)).mean()
        loss = 0.5 * (loss + functional.relu(1 + self.network(fake)).mean())
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
