"""UCF-101, Kinetics and tables of files on miniature trees with the real lists' syntax."""

from __future__ import annotations

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("av")

import tensorflow as tf

from kvdiff import media
from kvdiff.data import kinetics, ucf101, video_dataset_from_csv
from kvdiff.data.kinetics import list_kinetics
from kvdiff.data.ucf101 import list_ucf101
from tests.data.conftest import numbered_clip

SMALL = dict(num_frames=4, image_size=8, batch_size=4, num_workers=1, clip_sampling="uniform", verbose=False)
CLASSES = ("ApplyEyeMakeup", "Handstand Pushups", "YoYo")


def videos_of(dataset) -> list[tuple[int, int]]:
    """(which clip, label) of every clip, from its grey."""
    pairs = ((clips.numpy()[:, 0, 0, 0, 0] // 20, labels.numpy()) for clips, labels in dataset)
    return sorted(
        (int(video), int(label)) for clips, labels in pairs for video, label in zip(clips, labels, strict=True)
    )


@pytest.fixture(scope="module")
def ucf(tmp_path_factory):
    """Three classes of two groups of two clips; the lists end their lines as Windows does, some with spaces."""
    root = tmp_path_factory.mktemp("ucf")
    lists = root / "ucfTrainTestlist"
    lists.mkdir()
    index = "".join(f"{number} {name}\r\n" for number, name in enumerate(CLASSES, 1))
    (lists / "classInd.txt").write_bytes(index.encode())
    names = {}
    for label, name in enumerate(CLASSES):
        (root / "UCF-101" / name).mkdir(parents=True)
        for group in (1, 2, 3):
            file = f"{name}/v_{name.replace(' ', '')}_g{group:02d}_c01.avi"
            names[label, group] = file
            clip = numbered_clip(20 * (3 * label + group - 1))
            gif = media.encode_clip(clip, ".gif", fps=10)
            (root / "UCF-101" / file).with_suffix(".gif").write_bytes(gif)
            names[label, group] = file.replace(".avi", ".gif")
    for split in (1, 2, 3):
        train = [
            f"{names[label, group]} {label + 1} \r\n" for label in range(3) for group in (1, 2, 3) if group != split
        ]
        test = [f" {names[label, split]}\r\n" for label in range(3)]
        (lists / f"trainlist{split:02d}.txt").write_bytes("".join([*train, "\r\n"]).encode())
        (lists / f"testlist{split:02d}.txt").write_bytes("".join(test).encode())
    return root / "UCF-101", lists


@pytest.mark.parametrize("split", [1, 2, 3])
def test_ucf101_follows_its_official_lists(ucf, split):
    train = ucf101(*ucf, split=split, part="train", **SMALL)
    test = ucf101(*ucf, split=split, part="test", **SMALL)
    assert train.class_names == test.class_names == list(CLASSES)
    left = [(3 * label + group, label) for label in range(3) for group in range(3) if group != split - 1]
    assert videos_of(train) == left
    assert videos_of(test) == [(3 * label + split - 1, label) for label in range(3)]


def test_ucf101_names_what_is_missing(ucf, tmp_path):
    directory, lists = ucf
    with pytest.raises(FileNotFoundError, match="trainlist01.txt: no such file|classInd.txt: no such file"):
        list_ucf101(directory, tmp_path)
    with pytest.raises(FileNotFoundError, match="expected 6 listed files. Received: 6 are not there, such as"):
        list_ucf101(tmp_path, lists)
    with pytest.raises(ValueError, match="`split`"):
        list_ucf101(directory, lists, split=4)
    with pytest.raises(ValueError, match="`part`: expected one of"):
        list_ucf101(directory, lists, part="validation")


def test_ucf101_can_leave_out_what_is_missing(ucf, tmp_path):
    directory, lists = ucf
    for path in directory.rglob("*_g02_*.gif"):
        (tmp_path / path.relative_to(directory)).parent.mkdir(exist_ok=True)
        (tmp_path / path.relative_to(directory)).write_bytes(path.read_bytes())
    listing = list_ucf101(tmp_path, lists, missing="skip")
    assert len(listing.videos) == 3 and listing.labels.tolist() == [0, 1, 2]
    with pytest.raises(FileNotFoundError, match="3 are not there"):
        list_ucf101(tmp_path, lists)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("classInd.txt", "ApplyEyeMakeup\n", "expected lines such as"),
        ("classInd.txt", "1 A\n3 B\n", "numbered from 1 without gaps"),
        ("trainlist01.txt", "YoYo/v_YoYo_g01_c01.avi 4\n", "expected 'Class/file.avi'"),
        ("trainlist01.txt", "YoYo/v_YoYo_g01_c01.avi 0\n", "expected 'Class/file.avi'"),
        ("trainlist01.txt", "Other/v_Other_g01_c01.avi\n", "expected 'Class/file.avi'"),
    ],
)
def test_damaged_lists_are_refused(ucf, tmp_path, name, content, message):
    directory, lists = ucf
    for path in lists.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        list_ucf101(directory, tmp_path)


@pytest.fixture(scope="module")
def kinetics_files(tmp_path_factory):
    """Four of six listed clips: two trimmed names in class folders, a trimmed and a plain one outside."""
    root = tmp_path_factory.mktemp("kinetics")
    (root / "clips" / "air drumming").mkdir(parents=True)
    names = ("air drumming/-WPk0wR5jVB_000417_000427", "air drumming/SOX5yA1l24A_000000_000010")
    names = (*names, "R6llTwEh07w_000003_000013", "WUzgd7C1pWA")
    for index, name in enumerate(names):
        media.write_clip(root / "clips" / f"{name}.gif", numbered_clip(20 * index), fps=10)
    table = (
        'label,youtube_id,time_start,time_end,split,is_cc\r\n"air drumming",-WPk0wR5jVB,417,427,train,0\r\n'
        "air drumming,SOX5yA1l24A,0,10,train,0\r\nzumba,R6llTwEh07w,3,13,train,0\r\nzumba,WUzgd7C1pWA,41,51,train,0\r\n"
        'zumba,gone0000000,1,11,train,0\r\n"yawning, slowly",gone0000001,2,12,train,1\r\n'
    )
    (root / "train.csv").write_bytes(table.encode())
    return root / "clips", root / "train.csv"


def test_kinetics_takes_what_is_there(kinetics_files):
    dataset = kinetics(*kinetics_files, **SMALL)
    assert dataset.class_names == ["air drumming", "yawning, slowly", "zumba"]
    assert videos_of(dataset) == [(0, 0), (1, 0), (2, 2), (3, 2)]
    with pytest.raises(FileNotFoundError, match="2 are not there, such as .*gone0000000_000001_000011"):
        list_kinetics(*kinetics_files, missing="raise")


def test_kinetics_without_labels(kinetics_files, tmp_path):
    (tmp_path / "test.csv").write_text("youtube_id,time_start,time_end,split\nWUzgd7C1pWA,41.0,51.0,test\n")
    listing = list_kinetics(kinetics_files[0], tmp_path / "test.csv")
    assert listing.labels is None and listing.videos[0].path.stem == "WUzgd7C1pWA"


def test_a_table_names_files_and_classes(tmp_path):
    (tmp_path / "with space").mkdir()
    for index in range(3):
        media.write_clip(tmp_path / "with space" / f"{index}.gif", numbered_clip(20 * index), fps=10)
    table = "\ufeffname, kind ,more\r\nwith space/0.gif, 10,x\r\nwith space/1.gif,9,\r\nwith space/2.gif,10,y\r\n"
    (tmp_path / "clips.csv").write_bytes(table.encode())
    columns = dict(path_column="name", label_column="kind")
    dataset = video_dataset_from_csv(tmp_path / "clips.csv", **columns, **SMALL)
    assert dataset.class_names == ["9", "10"]
    assert videos_of(dataset) == [(0, 1), (1, 0), (2, 1)]
    plain = video_dataset_from_csv(tmp_path / "clips.csv", path_column="name", label_column=None, **SMALL)
    assert plain.element_spec.shape == (None, 4, 8, 8, 3)
    with pytest.raises(ValueError, match=r"expected columns \['path', 'label'\]"):
        video_dataset_from_csv(tmp_path / "clips.csv", **SMALL)
    with pytest.raises(ValueError, match="`class_names`: expected every class"):
        video_dataset_from_csv(tmp_path / "clips.csv", **columns, class_names=["9"], **SMALL)


def test_a_table_cannot_lead_out_of_its_folder(tmp_path):
    (tmp_path / "inner").mkdir()
    media.write_clip(tmp_path / "outside.gif", numbered_clip(0), fps=10)
    (tmp_path / "inner" / "clips.csv").write_text("path\n../outside.gif\n")
    dataset = video_dataset_from_csv(tmp_path / "inner" / "clips.csv", label_column=None, **SMALL)
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected a file inside"):
        list(dataset)


def test_rows_without_a_value_are_refused(tmp_path):
    (tmp_path / "clips.csv").write_text("path,label\nclip.gif\n")
    with pytest.raises(ValueError, match="expected a value for each"):
        video_dataset_from_csv(tmp_path / "clips.csv", **SMALL)
    (tmp_path / "clips.csv").write_text("path,label\n")
    with pytest.raises(ValueError, match="at least one row"):
        video_dataset_from_csv(tmp_path / "clips.csv", **SMALL)
