"""A model as a page in the browser: what the page knows of it, its files, and a small server for large models.

The page itself is in `page/`: HTML, CSS and JavaScript without a framework. It has no mathematics of diffusion: step
tables, windows and graphs are made here and in `kvdiff.export.web`.
"""

from kvdiff.web.description import Actions, described
from kvdiff.web.folder import write_gallery, write_page
from kvdiff.web.ort_web import CDN, ORT_WEB_VERSION, OrtWeb, find_ort_web

__all__ = [
    "CDN",
    "ORT_WEB_VERSION",
    "Actions",
    "OrtWeb",
    "described",
    "find_ort_web",
    "write_gallery",
    "write_page",
]
