from __future__ import annotations

import os
import signal
import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.serving.log.segment import SegmentWriter, is_finished, read_frames

payloads = st.lists(st.binary(max_size=200), max_size=12)


@settings(max_examples=60)
@given(payloads)
def test_what_was_written_is_read(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("s") / "a.seg"
    writer = SegmentWriter(path)
    ends = [writer.append(payload) for payload in written]
    frames = list(read_frames(path))
    writer.close()
    assert [frame.payload for frame in frames] == written
    assert [frame.end for frame in frames] == ends


@settings(max_examples=60)
@given(payloads.filter(len), st.data())
def test_a_cut_or_damaged_tail_is_never_read(tmp_path_factory, written, data):
    path = tmp_path_factory.mktemp("s") / "a.seg"
    writer = SegmentWriter(path)
    ends = [writer.append(payload) for payload in written]
    writer.close()
    cut = data.draw(st.integers(0, ends[-1]))
    os.truncate(path, cut)
    whole = [payload for payload, end in zip(written, ends, strict=True) if end <= cut]
    assert [frame.payload for frame in read_frames(path)] == whole


def test_a_flipped_bit_ends_the_reading(tmp_path):
    path = tmp_path / "a.seg"
    writer = SegmentWriter(path)
    first = writer.append(b"first")
    writer.append(b"second")
    writer.close()
    data = bytearray(path.read_bytes())
    data[first + 9] ^= 1
    path.write_bytes(data)
    assert [frame.payload for frame in read_frames(path)] == [b"first"]


def test_reading_goes_on_after_an_offset(tmp_path):
    writer = SegmentWriter(tmp_path / "a.seg")
    first = writer.append(b"first")
    writer.append(b"second")
    assert [frame.payload for frame in read_frames(writer.path, after=first)] == [b"second"]
    writer.close()


def test_a_segment_is_finished_when_its_writer_is_gone(tmp_path):
    writer = SegmentWriter(tmp_path / "a.seg")
    assert not is_finished(writer.path)
    writer.close()
    assert is_finished(writer.path)


def test_a_killed_writer_leaves_a_finished_segment(tmp_path):
    code = (
        "import sys; from pathlib import Path; from loopwright.serving.log.segment import SegmentWriter\n"
        "w = SegmentWriter(Path(sys.argv[1])); w.append(b'kept'); print('written', flush=True); sys.stdin.read()"
    )
    path = tmp_path / "a.seg"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout.readline() == b"written\n"
        assert not is_finished(path)
        child.send_signal(signal.SIGKILL)
    assert is_finished(path)
    assert [frame.payload for frame in read_frames(path)] == [b"kept"]


def test_a_full_disk_leaves_whole_frames_only(tmp_path):
    """The kernel's own limit on a file's size: a short write, then an error, as a full disk gives."""
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from loopwright.core.errors import StoreFullError; from loopwright.serving.log.segment import SegmentWriter\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "w = SegmentWriter(Path(sys.argv[1])); w.append(b'a' * 100)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150, resource.RLIM_INFINITY))\n"
        "try:\n    w.append(b'b' * 100)\nexcept StoreFullError as error:\n    print(error)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "w.append(b'c'); w.close()"
    )
    path = tmp_path / "a.seg"
    said = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert "No space left" in said.stdout
    assert [frame.payload for frame in read_frames(path)] == [b"a" * 100, b"c"]
