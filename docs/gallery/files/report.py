"""
A page about a run
==================

``report`` writes one HTML page about a run: certificate, numbers, figures, density and particles under a slider, the
study and where it comes from.

Known answer: the page refers to nothing outside itself, and its first figure can be taken out of it.
"""

import base64
import re
import tempfile
from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt

import mfpde

scratch = tempfile.TemporaryDirectory()
keys = ["grid.cells=[64,64]", "particles.widths=[32,128]", "particles.replicas=4", "output.snapshots=11"]
mfpde.run("solve", "single-index", "--no-figures", "-o", scratch.name, *(f"--set={key}" for key in keys))
mfpde.run("report", scratch.name, "-o", f"{scratch.name}/run.html")

# %%
# The sections of the page, and all that it refers to: data inside it and anchors, nothing elsewhere.
page = Path(scratch.name, "run.html").read_text()
print(", ".join(re.findall(r"<h2>(.*?)</h2>", page)))
references = re.findall(r'(?:src|href)="([^"]{5})', page)
assert references and all(reference.startswith(("data:", "#")) for reference in references)

# %%
# The first figure of the page.
coded = re.search(r'<img alt="overview" src="data:image/png;base64,([^"]+)"', page)[1]
picture = plt.imread(BytesIO(base64.b64decode(coded)))
plt.figure(figsize=(7.0, 7.0 * len(picture) / len(picture[0])), dpi=300).add_axes((0, 0, 1, 1)).imshow(picture)
plt.axis("off")
plt.show()
scratch.cleanup()
