"""`IConFaceModel`: transformer, autoencoder, stored prompt, schedule and traits, the same class in every size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iconface_video.errors import UsageError
from iconface_video.faces.pixels import to_tensor, to_uint8
from iconface_video.models.autoencoder import Autoencoder, StateCodec
from iconface_video.models.cascade import CascadeAutoencoder, pyramid
from iconface_video.models.context import Conditioning, ReferenceContext, batch_references
from iconface_video.models.pixel_autoencoder import Decoded
from iconface_video.models.sampler import AS_TRAINED, Sampling, guided, make_sigmas, sample_euler
from iconface_video.models.traits import Parametrisation, RestorerTraits, add_noise
from iconface_video.models.transformer import IConFaceTransformer
from iconface_video.types import EMBEDDING_SIZE, Float32, UInt8

__all__ = ["Conditioning", "IConFaceModel", "ReferenceContext"]


class IConFaceModel(nn.Module):
    """Restores degraded face crops, with any number of references of the same person.

    Pictures are (B, 3, S, S), RGB in [-1, 1], S a multiple of `traits.size_multiple`. The state that the sampler moves from
    noise to clean is (B, C, h, w) = (B, *noise_shape(S)), float32.
    """

    def __init__(
        self,
        transformer: IConFaceTransformer,
        autoencoder: nn.Module,
        prompt: Tensor,
        scheduler_config: Mapping[str, Any],
        traits: RestorerTraits,
        negative_prompt: Tensor | None = None,
    ) -> None:
        """autoencoder: one that follows `Autoencoder`. prompt, negative_prompt: (1, L, J) embeddings, the latter for guidance."""
        super().__init__()
        self.transformer = transformer
        self.autoencoder = autoencoder
        self.prompt = nn.Parameter(prompt, requires_grad=False)
        self.negative_prompt = None if negative_prompt is None else nn.Parameter(negative_prompt, requires_grad=False)
        self.scheduler_config = dict(scheduler_config)
        self.traits = traits
        self.parametrisation = Parametrisation(traits.prediction)
        self.compute_dtype: torch.dtype | None = None
        """Number format of `restore`, `restore_crops` and `prepare_references`: autocast where the weights are float32.
        None: the weights' own."""
        if traits.prediction != self.coder.prediction:
            raise ValueError(f"the traits say {traits.prediction} prediction, the autoencoder {self.coder.prediction}")

    @property
    def coder(self) -> Autoencoder:
        """The autoencoder by its interface."""
        return cast(Autoencoder, self.autoencoder)

    @property
    def device(self) -> torch.device:
        return self.prompt.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.prompt.dtype

    def noise_shape(self, size: int) -> tuple[int, int, int]:
        """(C, h, w) of the noise for one crop of `size` px. UsageError for a size that the model does not take."""
        self.traits.check_size(size)
        return self.autoencoder.state_shape(size) if isinstance(self.autoencoder, StateCodec) else (3, size, size)

    # ---- what the network sees

    def encode_references(self, pictures: Tensor, size: int, with_transformer: bool = True) -> ReferenceContext:
        """Look at R references (R, 3, S, S) once, for all frames and steps of crops of `size` px.

        with_transformer: False for a context that it will never see.
        """
        self.traits.check_size(size)
        seen = self.coder.encode_references(pictures)
        tokens = seen.tokens.to(self._token_dtype(seen.tokens))
        grid = (seen.grid, seen.grid)
        cells = self.coder.scene_cells(size)
        causal = with_transformer and self.transformer.settings.causal_references
        cache = self.transformer.encode_references(tokens, grid, (cells, cells)) if causal else None
        return ReferenceContext(tokens, grid, seen.maps, cache, size)

    def condition(self, source: Tensor, anchor: Tensor | None, references: Sequence[ReferenceContext | None]) -> Conditioning:
        """Conditioning of a batch.

        source: (B, 3, S, S).  anchor: (B, 512) identity directions (normalised here), None: without the identity pathway.
        references: B entries, any number of references in each.
        """
        if len(references) != len(source):
            raise ValueError(f"{len(source)} pictures need as many entries of references, got {len(references)}")
        self.traits.check_size(source.shape[-1])
        seen = self.coder.encode_source(source)
        identity = None if anchor is None else F.normalize(anchor, dim=1)
        return Conditioning(seen, identity, batch_references(references))

    # ---- the network

    def _token_dtype(self, tokens: Tensor) -> torch.dtype:
        """float32 weights take what comes (autocast decides); others take their own format."""
        return tokens.dtype if self.dtype == torch.float32 else self.dtype

    def _output(self, x: Tensor, sigma: Tensor, conditioning: Conditioning, prompt: Tensor) -> Tensor:
        """The network's prediction (B, C, h, w), float32."""
        return self._decoded(self._features(x, sigma, conditioning, prompt), x, sigma, conditioning)

    def _features(self, x: Tensor, sigma: Tensor, conditioning: Conditioning, prompt: Tensor, passes: int = 1) -> Tensor:
        """The transformer's output (passes * B, N, C); prompt: one for all, or (passes * B, L, J), pass after pass."""
        source, references, identity = conditioning.source, conditioning.references, conditioning.identity
        scene, level = self.coder.scene(x, sigma)
        shown = None if references is None else references.transformer
        features: Tensor = self.transformer(
            scene.to(self._token_dtype(scene)).repeat(passes, 1, 1),
            level.repeat(passes),
            prompt,
            source.grid,
            degraded=source.tokens.to(self._token_dtype(source.tokens)).repeat(passes, 1, 1),
            references=shown if shown is None or passes == 1 else shown.repeated(passes),
            identity=None if identity is None else identity.to(self._token_dtype(identity)).repeat(passes, 1),
        )
        return features

    def decode_parts(
        self, x: Tensor, sigma: Tensor, conditioning: Conditioning, with_transformer: bool = True
    ) -> list[Decoded]:
        """What every pass of a cascade makes of the state x (B, 3, S, S) at noise level sigma (B,), coarsest first.

        Gradients flow. TypeError for a model that is no cascade.
        """
        if not isinstance(self.autoencoder, CascadeAutoencoder):
            raise TypeError(f"model '{self.traits.name}' has no passes: it is no cascade")
        features = self._features(x, sigma, conditioning, self.prompt) if with_transformer else None
        references = conditioning.references
        maps, mask = (None, None) if references is None else (references.maps, references.mask)
        return self.autoencoder.decode_parts(features, conditioning.source, maps, mask, x, sigma)

    def velocity(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        """x (B, C, h, w) at noise level sigma (B,) -> velocity noise - clean, the same shape. Gradients flow."""
        return self.parametrisation.velocity(self._output(x, sigma, conditioning, self.prompt), x, sigma)

    def predict_clean(self, x: Tensor, sigma: Tensor, conditioning: Conditioning, with_transformer: bool = True) -> Tensor:
        """x (B, C, h, w) at noise level sigma (B,) -> clean estimate, the same shape. Gradients flow.

        with_transformer: False for what the networks around it make on their own (image prediction only).
        """
        if not with_transformer:
            return self.parametrisation.clean(self._decoded(None, x, sigma, conditioning), x, sigma)
        return self.parametrisation.clean(self._output(x, sigma, conditioning, self.prompt), x, sigma)

    def state_from_picture(self, picture: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, C, h, w)."""
        return self.autoencoder.state_from_picture(picture) if isinstance(self.autoencoder, StateCodec) else picture

    def picture_from_state(self, state: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 3, S, S)."""
        return self.autoencoder.picture_from_state(state) if isinstance(self.autoencoder, StateCodec) else state

    # ---- restoring

    def precision(self) -> AbstractContextManager[Any]:
        """Autocast to `compute_dtype` where it is wanted."""
        wanted = self.compute_dtype or self.dtype
        if self.dtype != torch.float32 or wanted == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=wanted)

    @torch.inference_mode()
    def restore(
        self,
        source: Tensor,
        anchor: Tensor | None,
        references: Sequence[ReferenceContext | None],
        noise: Tensor,
        sampling: Sampling = AS_TRAINED,
        start: Tensor | None = None,
    ) -> Tensor:
        """Restore a batch: (B, 3, S, S) -> (B, 3, S, S).

        Args:
            anchor, references: as `condition` takes them.
            noise: (B, *noise_shape(S)) unit Gaussian, float32.
            start: (B, 3, S, S) to start from instead of the source (below ``start_sigma`` 1), such as another model's result.
        """
        steps = sampling.steps or self.traits.default_steps
        scale = self.traits.default_guidance if sampling.guidance_scale is None else sampling.guidance_scale
        with self.precision():
            conditioning = self.condition(source, anchor, references)
            rows, columns = conditioning.source.grid
            sigmas = make_sigmas(steps, rows * columns, self.scheduler_config, sampling.start_sigma)
            x = noise
            if sampling.start_sigma < 1:
                begin = source if start is None else start
                x = add_noise(self.state_from_picture(begin).float(), noise, sigmas[:1].to(noise).expand(len(noise)))
            velocity = self._guided(conditioning, scale)
            return self.picture_from_state(sample_euler(velocity, x, sigmas)).float()

    def _bound(self, conditioning: Conditioning, prompt: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        def velocity(x: Tensor, sigma: Tensor) -> Tensor:
            return self.parametrisation.velocity(self._output(x, sigma, conditioning, prompt), x, sigma)

        return velocity

    def _guided(self, conditioning: Conditioning, scale: float) -> Callable[[Tensor, Tensor], Tensor]:
        """The velocity under guidance; where both prompts are equally long, both passes run as one batch of twice the size."""
        prompt, negative = self.prompt, self.negative_prompt
        conditional = self._bound(conditioning, prompt)
        if scale == 1 or negative is None or negative.shape != prompt.shape:
            unconditional = None if negative is None else self._bound(conditioning, negative)
            return guided(conditional, unconditional, scale)

        def velocity(x: Tensor, sigma: Tensor) -> Tensor:
            both = torch.cat([text.expand(len(x), -1, -1) for text in (negative, prompt)])
            away, towards = (
                self.parametrisation.velocity(self._decoded(features, x, sigma, conditioning), x, sigma)
                for features in self._features(x, sigma, conditioning, both, passes=2).chunk(2)
            )
            return away + scale * (towards - away)

        return velocity

    def _decoded(self, features: Tensor | None, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        """Features of one pass -> the network's prediction (B, C, h, w), float32."""
        references = conditioning.references
        maps = None if references is None else references.maps
        mask = None if references is None else references.mask
        return self.coder.decode(features, conditioning.source, maps, mask, x, sigma).float()

    @torch.inference_mode()
    def prepare_references(self, pictures: Sequence[UInt8], size: int) -> ReferenceContext | None:
        """Aligned pictures, uint8 (S', S', 3) RGB of any size -> their context for crops of `size` px; None for none.

        They are brought to `size` px (anti-aliased) first.
        """
        if not pictures:
            return None
        tensors = [self._resized(to_tensor(picture[None], self.device), size) for picture in pictures]
        with self.precision():
            return self.encode_references(torch.cat(tensors), size)

    @torch.inference_mode()
    def seen_damage(self, sources: UInt8) -> Float32 | None:
        """How much seems wrong at each place of uint8 (B, S, S, 3) RGB: mean absolute error in grey levels, (B, S / 2, S / 2).

        By a cascade's coarse pass, from the picture alone; None for a model that does not tell.
        """
        if not isinstance(self.autoencoder, CascadeAutoencoder):
            return None
        seen = pyramid(to_tensor(sources, self.device))[0]  # the refiner need not look
        noise = torch.randn(seen.shape, generator=torch.Generator().manual_seed(0)).to(seen)
        with self.precision():
            conditioning = self.condition(seen, None, [None] * len(seen))
            damage = self.decode_parts(noise, noise.new_ones(len(noise)), conditioning, with_transformer=False)[0].damage
        if damage is None:
            return None
        large = F.interpolate(damage.float(), (sources.shape[1] // 2,) * 2, mode="bilinear", align_corners=False)
        levels: Float32 = (127.5 * large[:, 0].exp()).cpu().numpy()
        return levels

    @torch.inference_mode()
    def restore_crops(
        self,
        sources: UInt8,
        anchors: Float32,
        references: Sequence[ReferenceContext | None],
        noise: Float32,
        sampling: Sampling = AS_TRAINED,
        starts: UInt8 | None = None,
    ) -> UInt8:
        """`restore` for arrays: sources uint8 (B, S, S, 3) RGB, anchors (B, 512), noise (B, C, h, w) -> uint8 (B, S, S, 3).

        starts: uint8 (B, S, S, 3), the `start` of each.
        """
        if anchors.shape != (len(sources), EMBEDDING_SIZE):
            raise UsageError(f"anchors are ({len(sources)}, {EMBEDDING_SIZE}), got {anchors.shape}")
        expected = (len(sources), *self.noise_shape(sources.shape[1]))
        if noise.shape != expected:
            raise UsageError(f"the noise of these crops is {expected}, got {noise.shape}")
        device = self.device
        restored = self.restore(
            to_tensor(sources, self.device),
            torch.from_numpy(anchors.copy()).to(device),
            references,
            torch.from_numpy(noise.copy()).to(device),
            sampling,
            None if starts is None else to_tensor(starts, self.device),
        )
        return to_uint8(restored)

    @staticmethod
    def _resized(picture: Tensor, size: int) -> Tensor:
        if picture.shape[-1] == size:
            return picture
        return F.interpolate(picture, size=(size, size), mode="bicubic", align_corners=False, antialias=True).clamp(-1, 1)
