#!/usr/bin/env python3
"""Stores files in a bucket, each under its SHA-256, and gets them back.

    files.py [OPTION=VALUE]... store FILE...    prints keys and names, as sha256sum does
    files.py [OPTION=VALUE]... get KEY >FILE

Ends with 0, 75 where the same may go well later, 64 where it was called in a wrong way, and else 1.
"""

import mimetypes
import os
import sys
from ctypes import CDLL, POINTER, byref, create_string_buffer, string_at
from ctypes import c_char_p, c_size_t, c_uint32, c_uint64, c_void_p
from ctypes.util import find_library
from multiprocessing import get_context
from pathlib import Path

WORKERS = 4
FAILED, WRONG_USE, TRY_AGAIN = 1, 64, 75

rts3 = CDLL(os.environ.get("RTS3_LIBRARY") or find_library("rts3") or "librts3.so")

out = POINTER(c_void_p)
for name, result, arguments in [
    ("rts3_open", c_uint32, [POINTER(c_char_p), c_size_t, out, out]),
    ("rts3_close", c_uint32, [c_void_p, out]),
    ("rts3_sha256", c_uint32, [c_char_p, c_size_t, c_char_p, out]),
    ("rts3_store", c_uint32, [c_void_p, c_char_p, c_char_p, c_size_t, c_char_p, c_uint64, out]),
    ("rts3_get", c_uint32, [c_void_p, c_char_p, c_uint64, c_void_p, c_void_p, out, POINTER(c_size_t), out]),
    ("rts3_next_message", c_uint32, [c_void_p, POINTER(c_uint32), out, out]),
    ("rts3_free", None, [c_void_p]),
    ("rts3_error_message", c_char_p, [c_void_p]),
    ("rts3_error_free", None, [c_void_p]),
    ("rts3_status_name", c_char_p, [c_uint32]),
]:
    function = getattr(rts3, name)
    function.restype, function.argtypes = result, arguments


class Error(Exception):
    """What failed: its code, the code's name, and a line of text."""

    def __init__(self, code, name, message):
        super().__init__(code, name, message)
        self.code, self.name, self.message = code, name, message
        self.may_pass = name in {"network", "timeout", "throttled", "server", "unavailable"}

    def __str__(self):
        return self.message


def call(function, *arguments):
    error = c_void_p()
    code = function(*arguments, byref(error))
    if code != 0:
        message = rts3.rts3_error_message(error).decode()
        rts3.rts3_error_free(error)
        raise Error(code, rts3.rts3_status_name(code).decode(), message)


class Bucket:
    """A bucket, open for this process and for those that it forks."""

    def __init__(self, options):
        texts = [text.encode() for option in options.items() for text in option]
        handle = c_void_p()
        call(rts3.rts3_open, (c_char_p * len(texts))(*texts), len(options), byref(handle))
        self._handle = handle.value  # a number, so that it can be sent to a forked process, where it is as good
        self._print_messages()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        call(rts3.rts3_close, self._handle)

    def store(self, content, content_type=None):
        key = create_string_buffer(65)
        call(rts3.rts3_sha256, content, len(content), key)
        try:
            media_type = content_type and content_type.encode()
            call(rts3.rts3_store, self._handle, key, content, len(content), media_type, 0)
        finally:
            self._print_messages()
        return key.value.decode()

    def get(self, key):
        data, size = c_void_p(), c_size_t()
        try:
            call(rts3.rts3_get, self._handle, key.encode(), 0, None, None, byref(data), byref(size))
        finally:
            self._print_messages()
        content = string_at(data, size.value)
        rts3.rts3_free(data)
        return content

    def store_file(self, name):
        """The key, or what failed: also out of another process."""
        try:
            return self.store(Path(name).read_bytes(), mimetypes.guess_type(name)[0])
        except (Error, OSError) as error:
            return error

    def _print_messages(self):
        level, text = c_uint32(), c_void_p()
        while True:
            call(rts3.rts3_next_message, self._handle, byref(level), byref(text))
            if not text:
                break
            kind = {1: "error", 2: "warning"}.get(level.value, "note")
            print(f"files.py: {kind}: {string_at(text).decode()}", file=sys.stderr)
            rts3.rts3_free(text)


def complain(error):
    print(f"files.py: {error}", file=sys.stderr)
    if not isinstance(error, Error):
        return FAILED
    again = "try again later" if error.may_pass else "trying again does not help"
    print(f"files.py: code {error.code}, {error.name}: {again}", file=sys.stderr)
    return TRY_AGAIN if error.may_pass else FAILED


def store(bucket, names):
    """In several processes at once: calls with one handle take turns only within a process."""
    failures = set()
    with get_context("fork").Pool(min(WORKERS, len(names))) as workers:
        for name, result in zip(names, workers.imap(bucket.store_file, names)):
            if isinstance(result, str):
                print(f"{result}  {name}", flush=True)
            else:
                failures.add(complain(result))
    return min(failures, default=0)


def main(words):
    options = {}
    while words and "=" in words[0]:
        option, _, options[option] = words.pop(0).partition("=")
    command, *names = words or [""]
    if (command, len(names)) != ("get", 1) and (command != "store" or not names):
        print(__doc__.split("\n\n")[1], file=sys.stderr)
        return WRONG_USE
    try:
        with Bucket(options) as bucket:
            if command == "store":
                return store(bucket, names)
            sys.stdout.buffer.write(bucket.get(names[0]))
            sys.stdout.flush()
            return 0
    except (Error, OSError) as error:
        return complain(error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
