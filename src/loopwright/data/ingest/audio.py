"""Tells whether bytes are audio, from their headers alone: nothing is decoded.

WAV is read to the size of its data (RIFF: IBM and Microsoft, Multimedia Programming Interface 1.0, 1991), FLAC to its
STREAMINFO block (RFC 9639, section 8.2); MP3, Ogg, M4A and AIFF are known by how they begin.
"""

from __future__ import annotations

import struct
from typing import NamedTuple


class AudioFacts(NamedTuple):
    """What the header says; None where the format's header is not read so far."""

    duration_s: float | None
    sample_rate_hz: int | None
    channels: int | None
    format: str


def examine_audio(data: bytes) -> tuple[str | None, AudioFacts | None]:
    """Return what is wrong with audio, or what its header says.

    >>> examine_audio(b"no audio")
    ('8 bytes that are no audio (known: WAV, FLAC, MP3, Ogg, M4A, AIFF)', None)
    """
    try:
        facts = _facts(data)
    except struct.error:
        return f"{len(data)} bytes, damaged audio: the header is cut off", None
    except ValueError as error:
        return f"{len(data)} bytes, damaged audio: {error}", None
    if facts is None:
        return f"{len(data)} bytes that are no audio (known: WAV, FLAC, MP3, Ogg, M4A, AIFF)", None
    return None, facts


def _facts(data: bytes) -> AudioFacts | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return _wav(data)
    if data[:4] == b"fLaC":
        return _flac(data)
    if data[:4] == b"OggS":
        return AudioFacts(None, None, None, "OGG")
    if data[4:8] == b"ftyp":
        return AudioFacts(None, None, None, "M4A")
    if data[:4] == b"FORM" and data[8:12] in {b"AIFF", b"AIFC"}:
        return AudioFacts(None, None, None, "AIFF")
    if data[:3] == b"ID3" or _is_mp3_frame(data):
        return AudioFacts(None, None, None, "MP3")
    return None


def _wav(data: bytes) -> AudioFacts:
    place, rate, channels, bytes_per_s = 12, None, None, 0
    while place + 8 <= len(data):
        name, size = data[place : place + 4], struct.unpack_from("<I", data, place + 4)[0]
        if name == b"fmt ":
            _, channels, rate, bytes_per_s = struct.unpack_from("<HHII", data, place + 8)
        elif name == b"data":
            if not channels or not rate or not bytes_per_s:
                raise ValueError("WAV without a format before its data")
            there = len(data) - place - 8
            if size in {0, 0xFFFFFFFF}:  # written by a program that did not know the length
                size = there
            if there < size:
                raise ValueError(f"WAV with {there} of the {size} bytes of sound that its header says")
            return AudioFacts(size / bytes_per_s, rate, channels, "WAV")
        place += 8 + size + size % 2
    raise ValueError("WAV without data")


def _flac(data: bytes) -> AudioFacts:
    if len(data) < 42 or data[4] & 0x7F:
        raise ValueError("FLAC without its STREAMINFO block")
    packed = int.from_bytes(data[18:26], "big")  # 20 bits of rate, 3 of channels, 5 of sample size, 36 of samples
    rate, channels, samples = packed >> 44, (packed >> 41 & 7) + 1, packed & (1 << 36) - 1
    if not rate:
        raise ValueError("FLAC without a sample rate")
    return AudioFacts(samples / rate if samples else None, rate, channels, "FLAC")


def _is_mp3_frame(data: bytes) -> bool:
    """Tell whether bytes begin with an MPEG audio frame: 11 bits of sync, and no reserved value in the header."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return False
    version, layer, bitrate, rate = data[1] >> 3 & 3, data[1] >> 1 & 3, data[2] >> 4, data[2] >> 2 & 3
    return version != 1 and layer != 0 and bitrate != 15 and rate != 3
