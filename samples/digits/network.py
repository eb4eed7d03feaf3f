"""A small MobileNet-like network: a 3x3 stem, depthwise-separable blocks, mean, linear layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 10


@dataclass(frozen=True)
class BlockSpec:
    """Input and output channels and stride; equal channels at stride 1 get a residual."""

    inputs: int
    outputs: int
    stride: int = 1
    residual: bool = False


STEM = 64
BLOCKS = (
    BlockSpec(64, 64, residual=True),
    BlockSpec(64, 128, stride=2),
    BlockSpec(128, 128, residual=True),
    BlockSpec(128, 256),
    BlockSpec(256, 256, residual=True),
)


class Separable(nn.Module):
    """``relu6(x? + bn(pointwise(relu6(bn(depthwise(x))))))``."""

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        self.spec = spec
        self.depthwise = nn.Conv2d(
            spec.inputs, spec.inputs, 3, spec.stride, 1, groups=spec.inputs, bias=False
        )
        self.depthwise_bn = nn.BatchNorm2d(spec.inputs)
        self.pointwise = nn.Conv2d(spec.inputs, spec.outputs, 1, bias=False)
        self.pointwise_bn = nn.BatchNorm2d(spec.outputs)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu6(self.depthwise_bn(self.depthwise(x)))
        inner = self.pointwise_bn(self.pointwise(inner))
        return F.relu6(inner + x if self.spec.residual else inner)


class DigitsNet(nn.Module):
    """[N, 1, 16, 16] in 0..1 to [N, 10] logits."""

    def __init__(self, blocks: tuple[BlockSpec, ...] = BLOCKS) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, STEM, 3, padding=1, bias=False)
        self.stem_bn = nn.BatchNorm2d(STEM)
        self.blocks = nn.ModuleList(Separable(spec) for spec in blocks)
        self.classifier = nn.Linear(blocks[-1].outputs, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.stem_bn(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.classifier(x.mean(dim=(2, 3)))

    def pointwise(self) -> dict[str, nn.Conv2d]:
        """The 1x1 convolutions by the names they have in the ONNX file."""
        return {f"block{i}/pointwise": block.pointwise for i, block in enumerate(self.blocks, 1)}
