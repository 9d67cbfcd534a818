"""Repositories of the hub: the revision of the first use is kept, and each failure has its own sentence.

The hub itself cannot be part of the tests; its client's answers stand in for it.
"""

import huggingface_hub
import pytest
from huggingface_hub import errors

from rs_course.fetching import from_hub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Calls of the client, which stores each revision in a folder of that name, as the real one does."""
    monkeypatch.setenv("RS_COURSE_CACHE", str(tmp_path / "cache"))
    calls, newest = [], ["a" * 40]

    def snapshot_download(name, *, revision, allow_patterns):
        calls.append((name, revision))
        return str(tmp_path / "hub" / (revision or newest[0]))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return calls, newest


def test_a_name_keeps_its_meaning(hub):
    calls, newest = hub
    assert from_hub("owner/name").name == "a" * 40
    newest[0] = "b" * 40
    assert from_hub("owner/name").name == "a" * 40
    assert from_hub("owner/name@v2").name == "v2"
    assert from_hub("owner/other").name == "b" * 40
    assert calls == [
        ("owner/name", None),
        ("owner/name", "a" * 40),
        ("owner/name", "v2"),
        ("owner/other", None),
    ]


def response_error(kind):
    error = kind.__new__(kind)
    Exception.__init__(error, "many lines\nof HTTP")
    return error


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (response_error(errors.GatedRepoError), FileNotFoundError, "accept its licence"),
        (
            response_error(errors.RepositoryNotFoundError),
            FileNotFoundError,
            "neither a folder here nor a repos",
        ),
        (response_error(errors.RevisionNotFoundError), FileNotFoundError, "has no revision 'v9'"),
        (errors.LocalEntryNotFoundError("x"), FileNotFoundError, "out of reach"),
        (ConnectionError("x"), FileNotFoundError, "out of reach"),
        (OSError(28, "No space left on device"), OSError, "cannot be stored .*No space left"),
        (PermissionError(13, "Permission denied"), OSError, "cannot be stored .*Permission denied"),
    ],
)
def test_each_failure_has_its_own_sentence(monkeypatch, tmp_path, error, kind, message):
    monkeypatch.setenv("RS_COURSE_CACHE", str(tmp_path / "cache"))

    def fail(*args, **named):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(kind, match=message) as caught:
        from_hub("owner/name@v9")
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, FileNotFoundError) == (kind is FileNotFoundError)
