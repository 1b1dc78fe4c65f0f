"""Where the tokens of a padded batch stand, and how they are laid out without the padding and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Of less padding than this, what is saved is less than what laying out the tokens costs.
LEAST_PADDING = 0.04


@dataclass(frozen=True)
class Layout:
    """The tokens of a batch, one text's after another's, in place of the batch's padded shape.

    Each text's first column is among them even where it is padding (on the left): heads read it.

    Args:
        batch: number of texts.
        width: columns of the padded batch.
        longest: columns that hold a token; what is right of them is padding alone.
        rows: where each token stands in the flattened batch; shape (tokens,), below batch * width.
        slots: where it stands when only the first `longest` columns are kept; shape (tokens,).
        columns: which column it stands in; shape (tokens,).
        firsts: which tokens are the first of their text; shape (batch,).
        mask: true for what is attended to; shape (batch, 1, 1, longest).
    """

    batch: int
    width: int
    longest: int
    rows: Tensor
    slots: Tensor
    columns: Tensor
    firsts: Tensor
    mask: Tensor

    @classmethod
    def of(cls, attention_mask: Tensor, least_padding: float = LEAST_PADDING) -> Layout | None:
        """Return the layout of a batch, or None where the padded shape is better kept.

        It waits for the mask's device once.

        Args:
            attention_mask: true or 1 for tokens; shape (batch, width).
            least_padding: the share of the batch that must be padding.
        """
        mask = attention_mask.cpu() != 0
        kept = mask.clone()
        kept[:, 0] = True
        batch, width = kept.shape
        rows = kept.flatten().nonzero()[:, 0]
        if len(rows) > (1 - least_padding) * batch * width or not mask.any(1).all():
            return None
        columns, texts = rows % width, rows // width
        longest = int(columns.max()) + 1
        counts = kept.sum(1)
        tensors = {
            "rows": rows,
            "slots": texts * longest + columns,
            "columns": columns,
            "firsts": counts.cumsum(0) - counts,
            "mask": mask[:, None, None, :longest],
        }
        device = attention_mask.device
        return cls(batch, width, longest, **{name: t.to(device) for name, t in tensors.items()})

    def flattened(self, values: Tensor) -> Tensor:
        """Return the tokens' values of a padded batch.

        Args:
            values: shape (batch, width).

        Returns:
            Shape (1, tokens).
        """
        return values.flatten()[self.rows][None]

    def padded(self, hidden: Tensor) -> Tensor:
        """Return an encoder's output in the padded shape, zero where padding is.

        Args:
            hidden: of all tokens, shape (1, tokens, size); or of each text's first, shape (1, batch, size).

        Returns:
            Shape (batch, width, size), or (batch, 1, size).
        """
        if hidden.shape[1] != len(self.rows):
            return hidden.transpose(0, 1)
        shape = (self.batch * self.width, hidden.shape[2])
        return hidden.new_zeros(shape).index_copy(0, self.rows, hidden[0]).unflatten(0, (self.batch, -1))

    def heads_padded(self, heads: Tensor) -> Tensor:
        """Return queries, keys or values in the padded shape of attention, zero where padding is.

        Args:
            heads: of all tokens, shape (1, heads, tokens, size); or of each text's first, shape
                (1, heads, batch, size).

        Returns:
            Shape (batch, heads, longest, size), or (batch, heads, 1, size).
        """
        if heads.shape[2] != len(self.slots):
            return heads.transpose(0, 2)
        values = heads[0].transpose(0, 1)
        blank = values.new_zeros((self.batch * self.longest, *values.shape[1:]))
        return blank.index_copy(0, self.slots, values).unflatten(0, (self.batch, -1)).transpose(1, 2)

    def heads_flattened(self, attended: Tensor) -> Tensor:
        """Return the tokens' part of what attention returns.

        Args:
            attended: shape (batch, longest, heads, size), or (batch, 1, heads, size).

        Returns:
            Shape (1, tokens, heads, size), or (1, batch, heads, size).
        """
        if attended.shape[1] == 1:
            return attended.transpose(0, 1)
        return attended.flatten(0, 1).index_select(0, self.slots)[None]

    def window(self, distance: int) -> Tensor:
        """Return the mask of an attention that sees tokens within a distance.

        Args:
            distance: in columns; the greatest that is still seen.

        Returns:
            Shape (batch, 1, longest, longest), or that of the mask where all are within it.
        """
        if distance >= self.longest - 1:
            return self.mask
        column = torch.arange(self.longest, device=self.mask.device)
        return self.mask & ((column[:, None] - column).abs() <= distance)
