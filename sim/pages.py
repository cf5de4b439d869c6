"""What the pages that a browser shows are made of: templates that escape all text, pictures inside the page, bars."""
import base64
import io
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image as Picture

__all__ = ["bars", "embedded", "png_of", "rendered"]


def rendered(template, **values):
    """The page that the template of that name makes of the values. Markup in them is shown as text."""
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
                        trim_blocks=True, lstrip_blocks=True)
    page = pages.get_template(template).render(**values).lstrip()
    return page.encode(errors="replace").decode()           # the name of a file may be no text


def embedded(octets, kind):
    """An address that holds the file itself. kind: of the picture, such as "png" or "svg+xml"."""
    return f"data:image/{kind};base64,{base64.b64encode(octets).decode()}"


def png_of(picture):
    """The picture, uint8 (1 or 3, H, W), as the bytes of a .png of H x W pixels."""
    file = io.BytesIO()
    pixels = picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)
    Picture.fromarray(np.ascontiguousarray(pixels)).save(file, format="PNG", optimize=True)
    return file.getvalue()


def bars(logits, class_name, *, label=None, most=None):
    """A row for each logit, or for the `most` largest in falling order: name, value, role ("prediction", "label", both
    or ""), and a bar from 0, left and width in per cent of the range that all logits and 0 span."""
    prediction = int(np.argmax(logits))
    order = range(len(logits)) if most is None else np.argsort(logits, kind="stable")[::-1][:most].tolist()
    low, high = min(0, *logits), max(0, *logits)
    percent = 100 / ((high - low) or 1)
    return [{"name": class_name(k), "value": f"{logits[k]:,}",
             "role": " ".join(role for role, index in (("prediction", prediction), ("label", label)) if index == k),
             "left": round(percent * (min(logits[k], 0) - low), 1), "width": round(percent * abs(logits[k]), 1)}
            for k in order]
