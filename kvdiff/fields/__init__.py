"""Fields: data with units and a clock, read piece by piece by the libraries that were made for it.

NetCDF, Zarr, HDF5 and GRIB are read through xarray, TIFF stacks through tifffile, DICOM through pydicom; each is
imported only when a file needs it. Numbers are float32 in the user's units, and NaN where they are missing.
"""

from kvdiff.fields.field import Field
from kvdiff.fields.forecast import (
    DATASET_SUFFIXES,
    as_dataset,
    check_dataset_writable,
    check_fits,
    forecast,
    last_clip,
    write_dataset,
)
from kvdiff.fields.opening import FIELD_SUFFIXES, is_field, open_fields
from kvdiff.fields.pictures import coloured, pictures_of
from kvdiff.fields.recipe import FieldRecipe, parse_region, parse_seconds
from kvdiff.fields.source import FieldError, Source
from kvdiff.fields.survey import Survey, frame_activity, survey

__all__ = [
    "DATASET_SUFFIXES",
    "FIELD_SUFFIXES",
    "Field",
    "FieldError",
    "FieldRecipe",
    "Source",
    "Survey",
    "as_dataset",
    "check_dataset_writable",
    "check_fits",
    "coloured",
    "forecast",
    "frame_activity",
    "is_field",
    "last_clip",
    "open_fields",
    "parse_region",
    "parse_seconds",
    "pictures_of",
    "survey",
    "write_dataset",
]
