import pytest

from holohisto.errors import HolohistoError
from holohisto.runtime import atomic


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic.replacing(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"
    with pytest.raises(ZeroDivisionError), atomic.replacing(path) as temporary:
        temporary.write_text(f"other {1 / 0}")
    assert path.read_text() == "half"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_a_full_disk_is_reported_whatever_the_library_raises(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "FULL_BYTES", 2**62)
    with (
        pytest.raises(HolohistoError, match="disk is full"),
        atomic.replacing(tmp_path / "a.txt"),
    ):
        raise RuntimeError("enforce fail at inline_container.cc")


def test_a_folder_that_is_a_file_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(HolohistoError), atomic.replacing(tmp_path / "file" / "a.txt"):
        pass
