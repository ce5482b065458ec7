"""What a detector was fitted on: whether a new image is of that kind."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from uad_orchestrator.images.decode import RgbImage
from uad_orchestrator.images.header import Refused
from uad_orchestrator.images.look.look import Look, is_grey
from uad_orchestrator.images.remarks import Remark

BRIGHTER, SHARPER = 1.25, 1.6
"""By how much an image may at least lie beyond the fitted ones, as a factor, before it is called unusual."""

DARKEST_STEP = 0.02
"""What brightness may differ by in any case, of 1."""

CAMERA_DEPTHS = (10, 12, 14)
"""Bits of cameras whose values come in files of 16."""

FAINTEST_TINT = 1 - 0.5 / 255
"""Above it the weakest channel of a tint leaves every value of 8 bits as it is."""

_EXACT_SIZES = 16


@dataclass(frozen=True)
class FittedOn:
    """What the images a detector was fitted on have in common.

    Attributes:
        sizes: ``(H, W)`` of them, each once; where there are many, the smallest and the largest sides.
        exact_sizes: whether ``sizes`` has all of them.
        bits: 8, 16 or both, ascending.
        channels: 1, 3 or both, ascending.
        brightness, sharpness: the lowest and the highest; None where none could be taken.
        largest: the largest value of any, 0 to 1.
        tint: the mean colour of those in colour, its strongest channel 1; None where some are grey, where their mean
            is, or is black, and where an earlier version noted it not.
    """

    sizes: tuple[tuple[int, int], ...]
    exact_sizes: bool
    bits: tuple[int, ...]
    channels: tuple[int, ...]
    brightness: tuple[float, float] | None
    sharpness: tuple[float, float] | None
    largest: float
    tint: tuple[float, float, float] | None = None

    @classmethod
    def of(cls, looks: Sequence[Look], sizes: Iterable[tuple[int, int]] = ()) -> FittedOn:
        """The common traits of images.

        Args:
            looks: of some of them, at least one.
            sizes: of the others.
        """
        known = sorted({*(look.size for look in looks), *sizes})
        exact = len(known) <= _EXACT_SIZES
        if not exact:
            heights, widths = zip(*known, strict=True)
            known = [(min(heights), min(widths)), (max(heights), max(widths))]
        return cls(
            sizes=tuple(known),
            exact_sizes=exact,
            bits=tuple(sorted({look.bits for look in looks})),
            channels=tuple(sorted({look.channels for look in looks})),
            brightness=_ends(look.brightness for look in looks),
            sharpness=_ends(look.sharpness for look in looks),
            largest=max(look.largest for look in looks),
            tint=_tint(looks),
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON values, which ``from_json`` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FittedOn:
        """What ``to_json`` gave."""
        pair = {
            name: None if values[name] is None else tuple(values[name])
            for name in ("brightness", "sharpness")
        }
        return cls(
            sizes=tuple((int(height), int(width)) for height, width in values["sizes"]),
            exact_sizes=bool(values["exact_sizes"]),
            bits=tuple(values["bits"]),
            channels=tuple(values["channels"]),
            largest=float(values["largest"]),
            tint=tuple(values["tint"]) if values.get("tint") else None,
            **pair,
        )

    def refuse_depth(self, look: Look, *, stated: bool) -> None:
        """Another bit depth than was fitted on, by the file or by what its values look like.

        Args:
            look: of a new image.
            stated: whether somebody said which value is white: then 16 bits are as good as the 8 fitted on, unless the
                values tell otherwise.

        Raises:
            Refused: names both depths.
        """
        if look.bits not in self.bits and not (stated and look.bits == 16):
            depth = self._camera_depth(look)
            values = f" (its values end at {_steps(look.largest)}, as those of {depth} bits)" if depth else ""
            raise Refused(
                f"{look.bits} bits per channel{values}; fitted on images of {' and '.join(map(str, self.bits))} bits. "
                "If it is the same scene at another depth, say which: bit_depth (--bit-depth)"
            )
        if look.bits == 16 and self.brightness is not None and _is_beyond(look.brightness, self.brightness):
            for depth in CAMERA_DEPTHS:
                self._refuse_scaled(look, depth)

    def unusual(self, look: Look, tint: Sequence[float] | None = None) -> Iterator[Remark]:
        """What a new image has that those fitted on had not, one by one.

        Args:
            look: of the new image.
            tint: that it was given, from ``tint_of``.
        """
        height, width = look.size
        if not self._has_size(look.size):
            word, shown = (" or ", self.sizes[:4]) if self.exact_sizes else (" to ", self.sizes)
            fitted = word.join(f"{h} x {w}" for h, w in shown) + " ..." * (len(shown) < len(self.sizes))
            yield Remark("size", f"{height} x {width} pixels; fitted on images of {fitted}")
        if look.channels not in self.channels:
            words = {1: "grey", 3: "colour"}
            text = f"a {words[look.channels]} image; fitted on {words[self.channels[0]]} ones"
            if tint is not None:
                text += f", whose mean colour it was given ({' : '.join(f'{share:.2f}' for share in tint)})"
            yield Remark("channels", text)
        if self.brightness is not None and _is_beyond(look.brightness, self.brightness):
            low, high = self.brightness
            word = "brighter" if look.brightness > high else "darker"
            text = f"much {word} ({look.brightness:.3f} of 1) than the images fitted on ({low:.3f} to {high:.3f})"
            yield Remark("brightness", text)
        if self.sharpness is not None and _is_another_sharpness(look.sharpness, self.sharpness):
            low, high = self.sharpness
            word = "sharper or noisier" if look.sharpness > high else "more blurred"
            text = f"much {word} ({look.sharpness:.3f}) than the images fitted on ({low:.3f} to {high:.3f})"
            yield Remark("sharpness", text)

    def tint_of(self, pixels: RgbImage) -> tuple[float, float, float] | None:
        """What a grey image's channels are multiplied by where all images fitted on are in colour.

        Three equal channels are a colour, too, and far from every other one: without a tint every grey image of the
        same scene would be anomalous. What only a colour would show stays unseen. A picture of one value throughout,
        overexposed or dark, shows no scene and stays as it is.

        Args:
            pixels: the new image, ``(H, W, 3)``.

        Returns:
            Red, green and blue, the strongest 1; None where the image stays as it is.
        """
        if self.tint is None or not is_grey(pixels):
            return None
        return None if pixels[..., 0].min() == pixels[..., 0].max() else self.tint

    def _has_size(self, size: tuple[int, int]) -> bool:
        if self.exact_sizes:
            return size in self.sizes
        return all(low <= side <= high for side, low, high in zip(size, *self.sizes, strict=True))

    def _camera_depth(self, look: Look) -> int | None:
        """The bits of a camera that explain a 16-bit image; first those by which it is as bright as usual."""
        able = [depth for depth in CAMERA_DEPTHS if look.bits == 16 and _steps(look.largest) < 2**depth]
        usual = [
            depth
            for depth in able
            if self.brightness and not _is_beyond(look.brightness * 65535 / (2**depth - 1), self.brightness)
        ]
        return next(iter([*usual, *able]), None)

    def _refuse_scaled(self, look: Look, depth: int) -> None:
        """Raised where an image looks as fitted once its values are taken as of another depth."""
        assert self.brightness is not None
        white, factor = (2**depth - 1) / 65535, 65535 / (2**depth - 1)
        if look.largest <= white < self.largest and not _is_beyond(look.brightness * factor, self.brightness):
            raise Refused(
                f"its values end at {_steps(look.largest)}, as those of {depth} bits in 16; fitted on images of "
                f"{' and '.join(map(str, self.bits))} bits, of which they would be nearly black: bit_depth: {depth} "
                "(--bit-depth) reads it"
            )
        if self.bits != (16,):
            return
        if self.largest <= white < look.largest and not _is_beyond(look.brightness / factor, self.brightness):
            raise Refused(
                f"its values reach {_steps(look.largest)}, as those of 16 bits; fitted on images whose values end at "
                f"{_steps(self.largest)}, as those of {depth} bits in 16: fit with bit_depth: {depth} to read both"
            )


def _tint(looks: Sequence[Look]) -> tuple[float, float, float] | None:
    if any(look.channels == 1 for look in looks):
        return None
    mean = np.mean([look.colour for look in looks], axis=0)
    if not mean.max() > 0:
        return None
    red, green, blue = (mean / mean.max()).round(6).tolist()
    return None if min(red, green, blue) > FAINTEST_TINT else (red, green, blue)


def tinted(pixels: RgbImage, tint: Sequence[float]) -> RgbImage:
    """An image whose channels are multiplied by a tint.

    Args:
        pixels: ``(H, W, 3)``, uint8 or uint16.
        tint: red, green and blue, 0 to 1.

    Returns:
        Of the same shape and type, rounded.
    """
    return np.rint(pixels * np.asarray(tint, np.float32)).astype(pixels.dtype)


def _ends(values: Iterable[float]) -> tuple[float, float] | None:
    known = [value for value in values if math.isfinite(value)]
    return (min(known), max(known)) if known else None


def _is_beyond(value: float, ends: tuple[float, float]) -> bool:
    """Brightness outside the fitted ones by more than they differ themselves, and more than a quarter."""
    low, high = ends
    room = max(high - low, DARKEST_STEP)
    return value > max(high * BRIGHTER, high + room) or value < min(low / BRIGHTER, low - room)


def _is_another_sharpness(value: float, ends: tuple[float, float]) -> bool:
    """Sharpness outside the fitted ones by a factor more than they differ themselves."""
    low, high = ends
    if not math.isfinite(value) or low <= 0:
        return False
    factor = max(high / low, SHARPER)
    return value > high * factor or value < low / factor


def _steps(value: float) -> int:
    """A value as it stands in a file of 16 bits."""
    return round(value * 65535)
