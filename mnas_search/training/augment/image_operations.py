"""The image operations of AutoAugment and RandAugment, on whole batches.

Each takes images float [N, 3, H, W] in [0, 1] and an argument float [N], one per image, on the
same device, and returns new images; operations without a strength ignore the argument. Results
equal Pillow's on 8-bit images, but values are not rounded to levels unless necessary.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

_GREY = 0.5  # fills what lies outside an image


def sample_affine(images: Tensor, theta: Tensor, *, padding: str) -> Tensor:
    """Sample images at affinely transformed positions, bilinearly.

    Args:
        theta: [N, 2, 3], maps positions in the result to positions in the image, both in [-1, 1].
        padding: `zeros` or `border`, the values outside the image.
    """
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode=padding, align_corners=False)


def _move(images: Tensor, rows: tuple[tuple[Tensor, Tensor, Tensor], ...]) -> Tensor:
    """Map pixel (x, y) of the result, from its centre, to x' = a x + b y + c and
    y' = d x + e y + f for ((a, b, c), (d, e, f)), each [N]; pixels outside are grey."""
    height, width = images.shape[-2:]
    (a, b, c), (d, e, f) = rows
    theta = torch.stack(
        [
            torch.stack([a, b * height / width, 2 * c / width], 1),
            torch.stack([d * width / height, e, 2 * f / height], 1),
        ],
        1,
    )
    return sample_affine(images - _GREY, theta, padding="zeros") + _GREY


def shear_x(images: Tensor, slope: Tensor) -> Tensor:
    """Move each row by slope times its distance from the top edge."""
    one, zero = torch.ones_like(slope), torch.zeros_like(slope)
    return _move(images, ((one, slope, slope * images.shape[-2] / 2), (zero, one, zero)))


def shear_y(images: Tensor, slope: Tensor) -> Tensor:
    """Move each column by slope times its distance from the left edge."""
    one, zero = torch.ones_like(slope), torch.zeros_like(slope)
    return _move(images, ((one, zero, zero), (slope, one, slope * images.shape[-1] / 2)))


def translate_x(images: Tensor, share: Tensor) -> Tensor:
    """Move to the left by a share of the width."""
    one, zero = torch.ones_like(share), torch.zeros_like(share)
    return _move(images, ((one, zero, share * images.shape[-1]), (zero, one, zero)))


def translate_y(images: Tensor, share: Tensor) -> Tensor:
    """Move upwards by a share of the height."""
    one, zero = torch.ones_like(share), torch.zeros_like(share)
    return _move(images, ((one, zero, zero), (zero, one, share * images.shape[-2])))


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Rotate counter-clockwise about the centre."""
    angle, zero = torch.deg2rad(degrees), torch.zeros_like(degrees)
    cos, sin = torch.cos(angle), torch.sin(angle)
    return _move(images, ((cos, -sin, zero), (sin, cos, zero)))


def invert(images: Tensor, _: Tensor) -> Tensor:
    """Return the negative."""
    return 1 - images


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the upper `bits` of the 8 bits of each value, from 0 to 8."""
    step = torch.exp2(8 - bits)[:, None, None, None]
    return (images * 255).round().div(step).floor().mul(step) / 255


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert values from a threshold of 256 levels on."""
    low = ((threshold - 0.5) / 255)[:, None, None, None]  # between two levels
    return torch.where(images < low, images, 1 - images)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Scale brightness: 0 is black, 1 the image."""
    return _blend(torch.zeros_like(images), images, factor)


def color(images: Tensor, factor: Tensor) -> Tensor:
    """Scale saturation: 0 is black and white, 1 the image."""
    return _blend(_luminance(images), images, factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Scale contrast: 0 is grey of the mean luminance, 1 the image."""
    return _blend(_luminance(images).mean((2, 3), keepdim=True), images, factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Scale sharpness: 0 is smoothed (3x3, weight 5 in the middle and 1 around it; edges
    unchanged), 1 the image."""
    smooth = images.clone()
    inner = images[..., 1:-1, 1:-1]
    smooth[..., 1:-1, 1:-1] = (9 * F.avg_pool2d(images, 3, stride=1) + 4 * inner) / 13
    return _blend(smooth, images, factor)


def auto_contrast(images: Tensor, _: Tensor) -> Tensor:
    """Stretch each channel to [0, 1], unless it is constant."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    spread = high - low
    flat = spread < 0.5 / 255
    return torch.where(flat, images, (images - low) / spread.clamp(min=0.5 / 255))


def equalize(images: Tensor, _: Tensor) -> Tensor:
    """Flatten the histogram of the 256 levels of each channel."""
    levels = (images * 255).round().long().flatten(2).flatten(0, 1)  # [3 N, H W]
    rows, pixels = levels.shape
    counts = levels.new_zeros(rows, 256).scatter_add_(1, levels, torch.ones_like(levels))
    of_brightest = counts.gather(1, levels.amax(1, keepdim=True))
    step = (pixels - of_brightest) // 255
    below = counts.cumsum(1) - counts
    table = ((step // 2 + below) // step.clamp(min=1)).clamp(max=255)
    moved = torch.where(step > 0, table.gather(1, levels), levels)
    return (moved / 255).view(images.shape)


def _luminance(images: Tensor) -> Tensor:
    """Compute luminance by ITU-R 601, [N, 1, H, W]."""
    red, green, blue = images.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]


def _blend(zero: Tensor, one: Tensor, factor: Tensor) -> Tensor:
    return torch.lerp(zero.expand_as(one), one, factor[:, None, None, None]).clamp(0, 1)
