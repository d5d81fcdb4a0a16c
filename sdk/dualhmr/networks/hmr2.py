"""The frozen part of HMR2.0 (Goel et al., ICCV 2023): a crop to the 1024 numbers of its readout.

A vision transformer turns the crop into 192 tokens, and a transformer decoder, whose only query is
the same for every image, reads them. The readout after it is linear, and is the head that test time
adapts. Attribute names and list positions are those of the public release (4D-Humans).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dualhmr.networks.backbones import Backbone

_PATCH, _PADDING = 16, 2
_ROWS, _COLUMNS = 16, 12
_WIDTH, _HEADS, _HIDDEN = 1280, 16, 5120
_VIT_EPSILON, _DECODER_EPSILON = 1e-6, 1e-5
"""The release has two kinds of layer norm, PyTorch's default one in the decoder."""
_QUERY_WIDTH, _DECODER_DEPTH, _DECODER_HEADS, _HEAD_WIDTH = 1024, 6, 8, 64
_INNER = _DECODER_HEADS * _HEAD_WIDTH


class HMR2Features(Backbone):
    """Normalised 256x192 images (N, 3, 256, 192) to features (N, 1024).

    `blocks` is the depth of the vision transformer: 32 in the release (ViT-H).
    """

    reads = ("image",)
    feature_count = _QUERY_WIDTH

    def __init__(self, *, blocks: int = 32) -> None:
        super().__init__()
        self.backbone = VisionTransformer(blocks)
        self.smpl_head = nn.ModuleDict({"transformer": TokenDecoder()})

    def forward(self, image: Tensor) -> Tensor:
        """Image (N, 3, 256, 192), normalised as `ImageNormaliser` does, to features (N, 1024).

        Raises ValueError for another size: positions are not interpolated.
        """
        size = (_PATCH * _ROWS, _PATCH * _COLUMNS)
        if tuple(image.shape[2:]) != size:
            raise ValueError(
                f"HMR2.0 takes images of {size[0]}x{size[1]} (height x width), "
                f"got {tuple(image.shape[2:])}"
            )
        features: Tensor = self.smpl_head["transformer"](self.backbone(image))
        return features


def _attend(query: Tensor, key: Tensor, value: Tensor, *, heads: int) -> Tensor:
    """Attention of (N, Q, C) to (N, T, C), by `heads` heads of consecutive channels each."""
    query, key, value = (
        each.unflatten(2, (heads, -1)).transpose(1, 2) for each in (query, key, value)
    )
    attended: Tensor = F.scaled_dot_product_attention(query, key, value)
    return attended.transpose(1, 2).flatten(2)


class VisionTransformer(nn.Module):
    """Images (N, 3, 256, 192) to 192 tokens (N, 192, 1280), row by row."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        patches = nn.Conv2d(3, _WIDTH, _PATCH, stride=_PATCH, padding=_PADDING)
        self.patch_embed = nn.ModuleDict({"proj": patches})
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + _ROWS * _COLUMNS, _WIDTH))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks = nn.Sequential(*(_Block() for _ in range(blocks)))
        self.last_norm = nn.LayerNorm(_WIDTH, eps=_VIT_EPSILON)

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        tokens = self.patch_embed["proj"](image).flatten(2).transpose(1, 2)
        # The position of a class token that is not there is added to all others.
        tokens = tokens + self.pos_embed[:, 1:] + self.pos_embed[:, :1]
        normed: Tensor = self.last_norm(self.blocks(tokens))
        return normed


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(_WIDTH, eps=_VIT_EPSILON)
        self.attn = _SelfAttention()
        self.norm2 = nn.LayerNorm(_WIDTH, eps=_VIT_EPSILON)
        self.mlp = _Perceptron()

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        changed: Tensor = tokens + self.mlp(self.norm2(tokens))
        return changed


class _SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(_WIDTH, 3 * _WIDTH)
        self.proj = nn.Linear(_WIDTH, _WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        attended: Tensor = self.proj(_attend(*self.qkv(tokens).chunk(3, dim=2), heads=_HEADS))
        return attended


class _Perceptron(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(_WIDTH, _HIDDEN)
        self.fc2 = nn.Linear(_HIDDEN, _WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        changed: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return changed


class TokenDecoder(nn.Module):
    """Tokens (N, 192, 1280) to one query's result (N, 1024), without a norm at the end.

    In the release, the input of the query is the number 0. So it starts as bias and position,
    whatever the weight of its embedding.
    """

    def __init__(self) -> None:
        super().__init__()
        self.to_token_embedding = nn.Linear(1, _QUERY_WIDTH)
        self.pos_embedding = nn.Parameter(torch.randn(1, 1, _QUERY_WIDTH))
        layers = nn.ModuleList(_decoder_layer() for _ in range(_DECODER_DEPTH))
        self.transformer = nn.ModuleDict({"layers": layers})

    def forward(self, tokens: Tensor) -> Tensor:
        """See the class."""
        zero = tokens.new_zeros(tokens.shape[0], 1, 1)
        query = self.to_token_embedding(zero) + self.pos_embedding
        layers = self.transformer["layers"]
        assert isinstance(layers, nn.ModuleList)
        for layer in layers:
            assert isinstance(layer, nn.ModuleList)
            attend_to_itself, attend_to_tokens, perceptron = layer
            query = query + attend_to_itself(query)
            query = query + attend_to_tokens(query, tokens)
            query = query + perceptron(query)
        result: Tensor = query.squeeze(1)
        return result


def _decoder_layer() -> nn.ModuleList:
    kinds: tuple[nn.Module, ...] = (_OneTokenAttention(), _CrossAttention(), _DecoderPerceptron())
    return nn.ModuleList(_PreNorm(kind) for kind in kinds)


class _PreNorm(nn.Module):
    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(_QUERY_WIDTH, eps=_DECODER_EPSILON)
        self.fn = function

    def forward(self, query: Tensor, *context: Tensor) -> Tensor:
        result: Tensor = self.fn(self.norm(query), *context)
        return result


def _projected() -> nn.Sequential:
    # In a list, as the release has dropout after it.
    return nn.Sequential(nn.Linear(_INNER, _QUERY_WIDTH))


class _OneTokenAttention(nn.Module):
    """Self-attention of a single token: its weight is 1, so queries and keys have no effect."""

    def __init__(self) -> None:
        super().__init__()
        self.to_qkv = nn.Linear(_QUERY_WIDTH, 3 * _INNER, bias=False)
        self.to_out = _projected()

    def forward(self, query: Tensor) -> Tensor:
        value = F.linear(query, self.to_qkv.weight[2 * _INNER :])
        attended: Tensor = self.to_out(value)
        return attended


class _CrossAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.to_kv = nn.Linear(_WIDTH, 2 * _INNER, bias=False)
        self.to_q = nn.Linear(_QUERY_WIDTH, _INNER, bias=False)
        self.to_out = _projected()

    def forward(self, query: Tensor, tokens: Tensor) -> Tensor:
        key, value = self.to_kv(tokens).chunk(2, dim=2)
        attended: Tensor = self.to_out(_attend(self.to_q(query), key, value, heads=_DECODER_HEADS))
        return attended


class _DecoderPerceptron(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        # Positions 1 and 2 are the activation and the dropout of the release.
        self.net = nn.Sequential(
            nn.Linear(_QUERY_WIDTH, _QUERY_WIDTH),
            nn.GELU(),
            nn.Identity(),
            nn.Linear(_QUERY_WIDTH, _QUERY_WIDTH),
        )

    def forward(self, query: Tensor) -> Tensor:
        changed: Tensor = self.net(query)
        return changed
