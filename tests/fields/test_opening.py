"""Every kind of file gives the numbers that were written, in their units and at their times."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from kvdiff.fields import FieldError, FieldRecipe, open_fields
from tests.fields.conftest import RATE, TIMES, radar, xarray


def one(source, **recipe):
    fields = open_fields(source, FieldRecipe(**recipe))
    assert len(fields) == 1
    return fields[0]


def test_a_variable_of_a_zarr_is_read_with_its_clock_and_units(radar_zarr: Path) -> None:
    field = one(radar_zarr, variable="rate")
    assert field.shape == (40, 6, 8, 1) and field.names == ("rate",) and field.units == ("mm h-1",)
    assert (field.times == TIMES).all() and field.time_step == 300.0
    assert field.dims == ("time", "lat", "lon") and field.coords["lat"][0] == 50.0
    np.testing.assert_array_equal(field.read([3, 7, 5])[..., 0], RATE[[3, 7, 5]])
    np.testing.assert_array_equal(field.read([3, -1])[..., 0], np.stack([RATE[3], np.full((6, 8), np.nan)]))
    part = field.read(np.arange(2, 9, 3), slice(1, 4), slice(2, None))
    np.testing.assert_array_equal(part[..., 0], RATE[2:9:3, 1:4, 2:])
    late = field.between(10, 20)
    assert late.shape[0] == 10 and late.times[0] == TIMES[10]
    np.testing.assert_array_equal(late.read([0, 9])[..., 0], RATE[[10, 19]])


def test_numbers_that_netcdf_packs_come_back_and_filled_ones_are_missing(tmp_path: Path) -> None:
    pytest.importorskip("h5netcdf")
    holed = np.where(RATE > 4.0, np.nan, RATE)
    packed = {"rate": {"dtype": "int16", "scale_factor": 0.01, "_FillValue": -999}}
    radar(rate=(("time", "lat", "lon"), holed)).to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding=packed)
    read = one(tmp_path / "a.nc", variable="rate").read(np.arange(40))[..., 0]
    np.testing.assert_allclose(read, holed, atol=0.0051)
    assert (np.isnan(read) == np.isnan(holed)).all()


def write_grib(path: Path, frames: np.ndarray) -> None:
    """Temperatures at 2 m, an hour a frame, as GRIB 2 with a bitmap for those that are missing."""
    eccodes, absent = pytest.importorskip("eccodes"), 9999.0
    rows, columns = frames.shape[1:]
    keys = {"Ni": columns, "Nj": rows, "dataDate": 20200701, "shortName": "2t", "bitmapPresent": 1, "bitsPerValue": 16}
    keys |= {"iDirectionIncrementInDegrees": 1.0, "jDirectionIncrementInDegrees": 1.0, "missingValue": absent}
    for name, first, count, sign in (("latitude", 50.0, rows, -1), ("longitude", 5.0, columns, 1)):
        keys[f"{name}OfFirstGridPointInDegrees"] = first
        keys[f"{name}OfLastGridPointInDegrees"] = first + sign * (count - 1)
    with path.open("wb") as file:
        for hour, frame in enumerate(frames):
            message = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
            for key, value in {**keys, "dataTime": 100 * hour}.items():
                eccodes.codes_set(message, key, value)
            eccodes.codes_set_values(message, np.nan_to_num(frame, nan=absent).astype(float).ravel())
            eccodes.codes_write(message, file)
            eccodes.codes_release(message)


def test_messages_of_a_grib_are_frames(tmp_path: Path) -> None:
    pytest.importorskip("cfgrib")
    warm = 250.0 + np.random.default_rng(0).uniform(0.0, 50.0, (5, 4, 6)).astype(np.float32)
    warm[:, 0, 0] = warm[3, 2, 2] = np.nan
    write_grib(tmp_path / "a.grib2", warm)
    field = one(tmp_path / "a.grib2")
    assert field.shape == (5, 4, 6, 1) and field.names == ("t2m",) and field.units == ("K",)
    assert field.time_step == 3600.0 and field.times[0] == np.datetime64("2020-07-01")
    assert field.coords["latitude"].tolist() == [50.0, 49.0, 48.0, 47.0]
    np.testing.assert_allclose(field.read([3, 1])[..., 0], warm[[3, 1]], atol=0.001)
    with pytest.raises(FieldError, match="variable 'a': expected a variable without a group, for GRIB has none"):
        one(tmp_path / "a.grib2", variable="a/t2m")


def test_several_variables_are_channels_and_a_region_takes_levels_and_places(radar_zarr: Path) -> None:
    region = {"level": 850.0, "lat": (46.0, 49.0), "lon": (6, 7)}
    field = one(radar_zarr, variable="temperature", region=region)
    assert field.shape == (40, 4, 3, 1) and field.coords["lat"].tolist() == [49.0, 48.0, 47.0, 46.0]
    np.testing.assert_array_equal(field.read([2])[0, ..., 0], RATE[2, 1:5, 2:5] + 280)
    days = one(radar_zarr, variable="rate", region={"time": ("2019-05-01T01", "2019-05-01T01")})
    assert days.times.tolist() == TIMES[12:24].tolist()  # The last hour is meant whole.
    both = one(radar(double=2 * radar().rate), variable=["rate", "double"])
    assert both.shape == (40, 6, 8, 2) and both.names == ("rate", "double")
    np.testing.assert_array_equal(both.read([1]), np.stack([RATE[1], 2 * RATE[1]], axis=-1)[None])


def test_dimensions_in_another_order_are_found_or_said(tmp_path: Path) -> None:
    turned = xarray.DataArray(RATE.transpose(1, 2, 0), dims=("lat", "lon", "time"), name="rate")
    np.testing.assert_array_equal(one(turned).read(np.arange(40))[..., 0], RATE)
    nameless = xarray.DataArray(RATE.transpose(2, 0, 1), dims=("a", "b", "c"), name="rate")
    np.testing.assert_array_equal(one(nameless, dims=("b", "c", "a")).read(np.arange(40))[..., 0], RATE)
    np.testing.assert_array_equal(one(RATE.transpose(1, 2, 0), dims=("2", "0", "1")).read(np.arange(40))[..., 0], RATE)


def test_plain_hdf5_and_groups_are_read(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    pytest.importorskip("h5netcdf")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/rate"] = RATE
    np.testing.assert_array_equal(one(tmp_path / "a.h5", variable="entry/data/rate").read([4])[..., 0], RATE[4:5])


def test_a_large_zarr_is_read_chunk_by_chunk(tmp_path: Path) -> None:
    """26 GB of numbers: what is read is what is asked for, and memory stays small."""
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(tmp_path / "big.zarr"), mode="w")
    shape = dict(shape=(100_000, 256, 256), chunks=(10, 64, 64), dimension_names=("time", "y", "x"))
    group.create_array("rate", dtype="float32", fill_value=1.5, **shape)
    field = one(tmp_path / "big.zarr")
    assert field.shape == (100_000, 256, 256, 1)
    tracemalloc.start()
    for start in range(0, 99_000, 9_000):
        clip = field.read(np.arange(start, start + 12), slice(64, 128), slice(0, 64))
        assert clip.shape == (12, 64, 64, 1) and (clip == 1.5).all()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_gaps_end_clips_or_are_missing_frames() -> None:
    kept = np.delete(np.arange(20), [7, 12, 13])
    holed = radar().rate.isel(time=kept)
    plain = one(holed).clips(4)
    assert [TIMES[kept[row[0]]] for row in plain] == [TIMES[i] for i in (0, 1, 2, 3, 8, 14, 15, 16)]
    np.testing.assert_array_equal(np.diff(plain, axis=1), 1)
    gappy = one(holed, max_gap=1).clips(4)
    starts = [int(kept[row[0]]) for row in gappy]
    assert starts == [0, 1, 2, 3, 5, 6, 8, 14, 15, 16]  # A clip does not end in a gap.
    row = gappy[starts.index(6)]
    assert row.tolist() == [6, -1, 7, 8]
    clip = one(holed, max_gap=1).read(row)[..., 0]
    assert np.isnan(clip[1]).all() and (clip[2] == RATE[8]).all()
    assert one(holed).gaps() == [(str(TIMES[6]), 2.0), (str(TIMES[11]), 3.0)]


def test_a_time_step_takes_frames_at_such_times_and_jitter_is_borne() -> None:
    jitter = np.random.default_rng(1).integers(-40, 40, 40) * np.timedelta64(1, "s")
    shaken = radar().assign_coords(time=TIMES + jitter).rate
    rows = one(shaken, time_step=600.0).clips(5)
    assert len(rows) == 40 - 8 and (np.diff(rows, axis=1) == 2).all()
    assert len(one(shaken, time_step=300.0, tolerance=0.01).clips(5)) < 5
    assert len(one(radar().rate, time_step=420.0).clips(3)) == 0


def test_files_that_follow_each_other_are_one_field(tmp_path: Path) -> None:
    pytest.importorskip("h5netcdf")
    for number, part in enumerate(np.array_split(np.arange(40), 3)):
        radar().isel(time=part).to_netcdf(tmp_path / f"{number}.nc", engine="h5netcdf")
    field = one(tmp_path, variable="rate")
    assert field.shape == (40, 6, 8, 1) and len(field.clips(12)) == 29
    np.testing.assert_array_equal(field.read([12, 30, 13, 39])[..., 0], RATE[[12, 30, 13, 39]])
    np.testing.assert_array_equal(field.between(5, 33).read(np.arange(28))[..., 0], RATE[5:33])


COUNTS = np.random.default_rng(2).integers(0, 65536, (5, 3, 2, 6, 8)).astype(np.uint16)


@pytest.mark.parametrize("compressed", [False, True])
def test_an_imagej_hyperstack_is_read_by_its_axes(tmp_path: Path, compressed: bool) -> None:
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "stack.tif"
    if compressed:
        pytest.importorskip("zarr")
        tifffile.imwrite(path, COUNTS, compression="zlib", metadata={"axes": "TZCYX"}, ome=True)
    else:
        tifffile.imwrite(path, COUNTS, imagej=True, metadata={"axes": "TZCYX", "finterval": 2.5})
    field = one(path, region={"Z": 1})
    assert field.shape == (5, 6, 8, 2) and field.dtype == np.uint16
    np.testing.assert_array_equal(field.read(np.arange(5)), np.moveaxis(COUNTS[:, 1], 1, -1))
    if not compressed:
        assert field.times.tolist() == [0.0, 2.5, 5.0, 7.5, 10.0]
    with pytest.raises(FieldError, match=r"stack.tif: expected clips .* and of dimension 'Z' one of 3, as `region`"):
        one(path)


def test_all_pages_and_all_bits_of_a_tiff_are_read(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "pages.tif", COUNTS[:, 0, 0], photometric="minisblack")
    np.testing.assert_array_equal(one(tmp_path / "pages.tif").read(np.arange(5))[..., 0], COUNTS[:, 0, 0])
    tifffile.imwrite(tmp_path / "floats.tif", RATE, photometric="minisblack")
    np.testing.assert_array_equal(one(tmp_path / "floats.tif").read([39])[..., 0], RATE[39:])
    tifffile.imwrite(tmp_path / "negative.tif", COUNTS[:, 0, 0], photometric="miniswhite")
    with pytest.raises(FieldError, match="expected numbers that grow with brightness, or RGB. Received: MINISWHITE"):
        one(tmp_path / "negative.tif")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_stills_of_sixteen_bits_keep_them(tmp_path: Path, suffix: str) -> None:
    pillow = pytest.importorskip("PIL.Image")
    for number, frame in enumerate(COUNTS[:, 0, 0]):
        pillow.fromarray(frame).save(tmp_path / f"{number}{suffix}")
    field = one(tmp_path)
    assert field.shape == (5, 6, 8, 1) and field.dtype == np.uint16
    np.testing.assert_array_equal(field.read(np.arange(5))[..., 0], COUNTS[:, 0, 0])


def test_dicom_is_read_frame_by_frame_in_its_units(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    file = pydicom.Dataset()
    file.file_meta = pydicom.dataset.FileMetaDataset()
    file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = pydicom.uid.generate_uid()
    file.NumberOfFrames, file.Rows, file.Columns = 5, 6, 8
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 16
    file.HighBit, file.PixelRepresentation = 15, 0
    file.RescaleSlope, file.RescaleIntercept, file.RescaleType = 0.5, -1000.0, "HU"
    file.PixelPaddingValue, file.FrameTime = int(COUNTS[0, 0, 0, 0, 0]), 40.0
    file.PixelData = COUNTS[:, 0, 0].tobytes()
    file.save_as(tmp_path / "cine.dcm", enforce_file_format=True)
    field = one(tmp_path / "cine.dcm")
    assert field.shape == (5, 6, 8, 1) and field.units == ("HU",)
    np.testing.assert_allclose(field.times, [0.0, 0.04, 0.08, 0.12, 0.16])
    padding = COUNTS[0, 0, 0, 0, 0]
    expected = np.where(COUNTS[:, 0, 0] == padding, np.nan, 0.5 * COUNTS[:, 0, 0] - 1000.0)
    np.testing.assert_array_equal(field.read([4, 0])[..., 0], expected[[4, 0]].astype(np.float32))


def test_arrays_are_mapped_and_several_clips_are_several_fields(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", RATE)
    np.testing.assert_array_equal(one(tmp_path / "a.npy").read([3])[..., 0], RATE[3:4])
    np.save(tmp_path / "b.npy", np.stack([COUNTS[:, 0].transpose(0, 2, 3, 1)] * 3))
    fields = open_fields(tmp_path / "b.npy")
    assert [field.shape for field in fields] == [(5, 6, 8, 2)] * 3


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({}, "expected `variable` to say which of several. Received: none; there are .'rate', 'temperature'"),
        (
            {"variable": "rain"},
            "variable 'rain': expected one of .'altitude', 'rate', 'temperature'.. Received: no such",
        ),
        ({"variable": "rate", "units": "K"}, "variable 'rate': expected units 'K'. Received: 'mm h-1'"),
        ({"variable": "temperature"}, "and of dimension 'level' one of 2, as `region` takes it. Received: all"),
        ({"variable": "altitude"}, "variable 'altitude': expected dimensions for time, height and width; `dims` says"),
        ({"variable": "rate", "dims": ("t", "lat", "lon")}, "expected dimensions .*Received: no 't' among .'time'"),
        ({"variable": "rate", "region": {"z": 3}}, "expected a region of dimensions .* Received: 'z'"),
        ({"variable": "rate", "region": {"lat": (60, 70)}}, "expected a region of 'lat' within 45.0 to 50.0"),
        ({"variable": "temperature", "region": {"level": 700}}, "expected a region of 'level' within 500.0 to 850.0"),
        ({"variable": ["rate", "altitude"]}, "expected dimensions for time"),
    ],
)
def test_what_is_not_in_the_file_is_refused_by_name(radar_zarr: Path, recipe, message: str) -> None:
    with pytest.raises(FieldError, match=rf"radar.zarr: .*{message}"):
        one(radar_zarr, **recipe)


def test_units_may_be_spelt_in_several_ways(radar_zarr: Path) -> None:
    for spelling in ("mm/h", "mm h-1", "mm h^-1", "mm hr**-1"):
        assert one(radar_zarr, variable="rate", units=spelling).units == (spelling,)


def test_clocks_that_do_not_rise_and_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    back = radar().assign_coords(time=TIMES[::-1])
    with pytest.raises(FieldError, match="variable 'rate': expected times that rise. Received: .*, frames 0 and 1"):
        one(back, variable="rate")
    with pytest.raises(FieldError, match="expected times, for `time_step` to go by. Received: a file without a clock"):
        one(RATE, time_step=300.0)
    with pytest.raises(FieldError, match="expected numbers .frames, height, width., .*Received: <U2"):
        open_fields(np.full((3, 4, 5), "no"))
    large = np.full((3, 4, 5), 2**24 + 1, np.int64)
    with pytest.raises(FieldError, match="expected whole numbers up to 16777216.*Received: 16777217"):
        one(large).read([0])
    assert np.isnan(one(large, missing=(2**24 + 1,)).read([0])).all()
    (tmp_path / "b.nc").write_bytes(b"no such thing")
    with pytest.raises(FieldError, match=r"b.nc: expected a .nc file that h5netcdf reads. Received:"):
        one(tmp_path / "b.nc")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FieldError, match=r"expected files ending in .nc, .*Received: a folder with none"):
        one(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="no such file"):
        one(tmp_path / "c.nc")


def test_what_the_file_says_of_a_dimension_comes_before_what_its_name_suggests() -> None:
    """A coordinate whose attributes say so is the width, whatever another dimension is called."""
    array = xarray.DataArray(RATE, dims=("x", "north", "east"), name="rate")
    coords = {"north": ("north", np.arange(6.0), {"axis": "Y"}), "east": ("east", np.arange(8.0), {"axis": "X"})}
    field = one(array.assign_coords(coords))
    assert field.shape == (40, 6, 8, 1) and field.dims == ("x", "north", "east")
