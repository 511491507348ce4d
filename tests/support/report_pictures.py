"""Fabricated pictures of tissue."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def pictures(side: int, random) -> tuple[Image.Image, Image.Image]:
    """Blobs of pink, grainy tissue, and the same with green outlines; (side, 0.7 side)."""
    size = (side, round(side * 0.7))
    tissue = Image.new("RGB", size, "#f4f2f3")
    draw = ImageDraw.Draw(tissue)
    w, h = size
    draw.ellipse((w * 0.08, h * 0.12, w * 0.92, h * 0.9), fill="#d9a3c0")
    circles = []
    for _ in range(25):
        x, y = random.uniform(0.22, 0.75) * w, random.uniform(0.25, 0.72) * h
        circles.append((x, y, x + w * 0.03, y + w * 0.03))
        draw.ellipse(circles[-1], fill="#a3558a")
    grain = random.normal(0, 22, (h // 3 + 1, w // 3 + 1, 1)).repeat(3, 2)
    grain = grain.repeat(3, 0).repeat(3, 1)[:h, :w]
    pixels = np.clip(np.asarray(tissue) + grain * (np.asarray(tissue)[..., 1:2] < 200), 0, 255)
    tissue = Image.fromarray(pixels.astype(np.uint8)).filter(ImageFilter.GaussianBlur(1))
    outlined = tissue.copy()
    for circle in circles:
        ImageDraw.Draw(outlined).ellipse(circle, outline="#00c853", width=max(1, side // 300))
    return tissue, outlined


def rebuilt(tissue: Image.Image, blur: float) -> Image.Image:
    """Four squares of tissue in a row, under them the same squares, blurred."""
    row = tissue.crop((150, 120, 550, 220)).resize((1536, 384))
    both = Image.new("RGB", (1536, 768))
    both.paste(row, (0, 0))
    both.paste(row.filter(ImageFilter.GaussianBlur(blur)), (0, 384))
    return both
