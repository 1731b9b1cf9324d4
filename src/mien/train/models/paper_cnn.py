"""The network of the paper's Table I and Figure 1."""

from __future__ import annotations

from torch import Tensor, nn

from mien.errors import InputError, RecipeError
from mien.train.models.layers import convolution, full_connections, initialise, last_layer

__all__ = ["PaperCnn"]

INPUT_SIZE_PX = 48
KERNELS = (1, 5, 3, 3)  # Table I, layers 1, 2, 4 and 6
WIDTHS = (32, 32, 64, 128)
NODES = (2048, 1024)  # layers 8 and 9


class PaperCnn(nn.Module):
    """The convolutional network of Table I: crops normalised by the caller, (N, C, 48, 48), to logits (N, labels).

    With one channel and seven labels it has 8,779,047 parameters:

        layer                       output         parameters
        1   convolution 1x1, 32     32 x 48 x 48           64
        2   convolution 5x5, 32     32 x 44 x 44       25,632
        3   max pooling 2x2         32 x 22 x 22
        4   convolution 3x3, 64     64 x 20 x 20       18,496
        5   max pooling 2x2         64 x 10 x 10
        6   convolution 3x3, 128    128 x 10 x 10      73,856
        7   max pooling 2x2         128 x 5 x 5
        8   fully connected         2048            6,555,648
        9   fully connected         1024            2,098,176
        10  fully connected         7                   7,175

    What the paper leaves unclear, and what was decided:

    * Table I's row of layer 8 is cut off after "fully connected layer Dr".  Layer 9 reads "Dropout (0.4)" in the same
      column, so layer 8 has the same dropout; its input, 1x3200, is flattened from layer 7 and its output is 1x2048.
    * Where dropout stands is not said: after the activation, as Keras examples of the time do.
    * "SoftMax layer" is the last full connection and the softmax of equation 5.  The network returns logits, since the
      loss wants them; the softmax is added at export.
    * Equation 7 gives the derivative of the loss by the output as -theta/a.  That of equation 6 is -y/a, y being the
      expected output, and that is what automatic differentiation computes.
    * The text counts 35,886 pictures, 28,708 of them for training.  The official counts are 35,887 and 28,709, and all
      of them are used.
    * Initial weights are not mentioned: He et al. 2015, "Delving Deep into Rectifiers", for the ReLUs that are used.
    * The paper's layers carry no batch normalisation.  `batch_norm=True` adds it for training, after each convolution
      and each hidden full connection; at export it is folded into the layer before it, which leaves exactly the graph
      above.

    Its variants (the paper names kernel sizes, numbers of filters and nodes among its hyper-parameters) follow what
    Table I does: pooling behind every convolution but a 1x1 one at the head, and the last convolution padded.
    """

    def __init__(
        self,
        *,
        channels: int = 1,
        labels: int = 7,
        size_px: int = 48,
        dropout: float = 0.4,
        batch_norm: bool = False,
        kernels: tuple[int, ...] = KERNELS,
        widths: tuple[int, ...] = WIDTHS,
        nodes: tuple[int, ...] = NODES,
        cosine: bool = False,
    ) -> None:
        """Build the network with fresh weights from torch's current random state.

        kernels, widths: size and number of the kernels of each convolution.  nodes: of each hidden full connection.
        cosine: see `last_layer`.
        Raises InputError for crops of another size, RecipeError where a kernel is larger than its map.
        """
        super().__init__()
        if size_px != INPUT_SIZE_PX:
            raise InputError(f"paper-cnn reads crops of {INPUT_SIZE_PX} pixels; got {size_px}; prepare the data again")
        if len(kernels) != len(widths):
            raise RecipeError(f"{len(kernels)} kernels for {len(widths)} widths; expected one of each a convolution")
        layers: list[nn.Module] = []
        inputs, side = channels, size_px
        for number, (kernel, width) in enumerate(zip(kernels, widths, strict=True)):
            padding = kernel // 2 if number and number == len(kernels) - 1 else 0
            if kernel > side:
                raise RecipeError(f"model.kernels: {kernel}x{kernel} is larger than its map of {side}x{side} pixels")
            layers += convolution(inputs, width, kernel, padding=padding, batch_norm=batch_norm)
            inputs, side = width, side + 2 * padding - kernel + 1
            if number or kernel > 1:
                if side < 2:
                    raise RecipeError(
                        f"model.kernels: {len(kernels)} convolutions leave too little of {size_px} pixels"
                    )
                layers.append(nn.MaxPool2d(2))
                side //= 2
        self.features = nn.Sequential(*layers)
        inputs *= side * side
        hidden = full_connections(inputs, nodes, dropout=dropout, batch_norm=batch_norm)
        last = last_layer((inputs, *nodes)[-1], labels, cosine=cosine)
        self.classifier = nn.Sequential(nn.Flatten(), *hidden, last)
        initialise(self, last)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (N, labels) of normalised crops (N, C, 48, 48)."""
        logits: Tensor = self.classifier(self.features(inputs))
        return logits
