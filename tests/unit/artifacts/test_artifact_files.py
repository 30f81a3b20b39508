from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.descriptors import opened

from assay.artifacts.files import FileEntry, Tree, _take, refused, walk
from assay.errors import ArtifactError
from assay.findings import Finding, Severity


def listed(root: Path, **options: object) -> list[str]:
    return [entry.name for entry in walk(root, **options)]  # type: ignore[arg-type]  # a table of keyword arguments


def rules(root: Path) -> list[tuple[str, str]]:
    with pytest.raises(ArtifactError) as caught:
        walk(root)
    return sorted((one.rule.removeprefix("artifact."), one.subject) for one in caught.value.findings)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "m"
    for name in ("a-b", "a/b", "a.txt", "z/y/x", ".hidden"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    (root / "empty-folder").mkdir()
    return root


def test_files_are_listed_by_code_point(model: Path) -> None:
    assert [(entry.name, entry.size) for entry in walk(model)] == [
        (".hidden", 7),
        ("a-b", 3),
        ("a.txt", 5),
        ("a/b", 3),
        ("z/y/x", 5),
    ]


def test_a_single_file_is_a_model_of_its_own_name(model: Path) -> None:
    with Tree.of(model / "a.txt") as tree:
        assert (tree.name, [entry.name for entry in tree.entries], tree.ignore) == ("a.txt", ["a.txt"], ())
        descriptor = tree.open("a.txt")
        assert os.read(descriptor, 9) == b"a.txt"
        os.close(descriptor)


def test_git_and_the_signature_are_left_out_at_the_top_only(model: Path) -> None:
    for name in (".git/config", ".github/x", "z/.git/config"):
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_bytes(b"")
    for name in (".gitignore", ".gitattributes", "z/.gitignore", "model.sig", "z/model.sig"):
        (model / name).write_bytes(b"")
    found = listed(model, signature=model / "model.sig")
    assert [name for name in found if "git" in name or "sig" in name] == [
        "z/.git/config",
        "z/.gitignore",
        "z/model.sig",
    ]
    with Tree.of(model, signature=model / "model.sig") as tree:
        assert tree.ignore == (".git", ".gitattributes", ".github", ".gitignore", "model.sig")
    with Tree.of(model, signature=model.parent / "m.sig") as tree:
        assert "m.sig" not in tree.ignore


IGNORE: list[tuple[str, Callable[[Path], Path | str]]] = [
    ("name", lambda _: "z"),
    ("name_with_dots", lambda _: "a/../z/"),
    ("absolute", lambda root: root / "z"),
    ("seen_from_the_working_folder", lambda root: Path(root.name) / "z"),
    ("seen_from_the_model", lambda _: Path("z")),
]


@pytest.mark.parametrize(("way", "ignore"), IGNORE)
def test_what_is_ignored_may_be_named_in_several_ways(
    way: str, ignore: Callable[[Path], Path | str], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)
    assert "z/y/x" not in listed(model, ignore=[ignore(model)]), way
    assert "a/b" in listed(model, ignore=[ignore(model)]), way


def test_a_recorded_name_means_the_model_whatever_the_working_folder(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (model / "z" / "a.txt").write_bytes(b"")
    monkeypatch.chdir(model / "z")
    assert "z/a.txt" in listed(model, ignore=["a.txt"])
    assert "a.txt" not in listed(model, ignore=["a.txt"])


def test_ignoring_what_lies_outside_ignores_nothing(model: Path) -> None:
    outside: list[Path | str] = ["../m2", "..", model.parent / "other", Path("/")]
    with Tree.of(model, ignore=outside) as tree:
        assert tree.ignore == (".git", ".gitattributes", ".github", ".gitignore")


@pytest.mark.parametrize("ignore", [".", "a/.."])
def test_ignoring_the_whole_model_is_refused(ignore: str, model: Path) -> None:
    for what in (ignore, model):
        with pytest.raises(ArtifactError, match="would have nothing left") as caught:
            walk(model, ignore=[what])
        assert [one.rule for one in caught.value.findings] == ["artifact.empty"]


def test_what_is_ignored_may_be_a_link(model: Path) -> None:
    (model / "cache").symlink_to("/etc")
    assert "a.txt" in listed(model, ignore=[model / "cache"])


def test_a_deployments_link_to_the_folder_is_followed(model: Path) -> None:
    (model.parent / "current").symlink_to(model)
    assert listed(model.parent / "current", ignore=[model.parent / "current" / "z"]) == listed(model, ignore=["z"])


def test_every_reason_is_told_at_once(model: Path) -> None:
    (model / "link").symlink_to("a.txt")
    (model / "a" / "folder-link").symlink_to("/etc", target_is_directory=True)
    (model / "nowhere").symlink_to("gone")
    os.mkfifo(model / "pipe")
    (model / "line\nbreak").write_bytes(b"")
    (model / "A.TXT").write_bytes(b"")
    (model / "z:z").mkdir()
    (model / "z:z" / "inside").write_bytes(b"")
    Path(os.fsdecode(os.fsencode(model) + b"/latin-\xe9")).write_bytes(b"")
    assert rules(model) == [
        ("link", "a/folder-link"),
        ("link", "link"),
        ("link", "nowhere"),
        ("name", "'latin-\\udce9'"),
        ("name", "'line\\nbreak'"),
        ("name", "z:z"),
        ("name-clash", "a.txt"),
        ("special", "pipe"),
    ]


def test_a_socket_is_no_file(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(model)  # a socket's path may have 107 bytes only
        server.bind("s")
        assert rules(model) == [("special", "s")]


@pytest.mark.parametrize(
    "make", [lambda _: None, lambda root: (root / ".git").mkdir(), lambda root: (root / "x").mkdir()]
)
def test_a_model_without_files_is_refused(make: Callable[[Path], None], tmp_path: Path) -> None:
    root = tmp_path / "m"
    root.mkdir()
    make(root)
    assert rules(root) == [("empty", "m")]


def test_a_model_of_nothing_but_links_names_them(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    assert rules(tmp_path) == sorted([("empty", tmp_path.name), ("link", "link")])


def test_what_is_no_model_is_refused(model: Path) -> None:
    (model.parent / "link").symlink_to(model / "a.txt")
    (model.parent / "dangling").symlink_to("gone")
    (model.parent / "odd:name").write_bytes(b"")
    os.mkfifo(model.parent / "pipe")
    for name, words in [
        ("gone", "No such file"),
        ("link", "is a symbolic link"),
        ("dangling", "No such file"),
        ("pipe", "neither a file nor a folder"),
        ("odd:name", "':'"),
    ]:
        with pytest.raises(ArtifactError, match=words):
            walk(model.parent / name)


def test_a_file_swapped_for_something_else_after_listing_is_not_opened(model: Path) -> None:
    with Tree.of(model) as tree:
        (model / "a.txt").unlink()
        (model / "a.txt").symlink_to("a-b")
        (model / "a-b").unlink()
        os.mkfifo(model / "a-b")
        (model / "z").rename(model / "moved")
        (model / "z").symlink_to("moved")
        (model / ".hidden").unlink()
        reasons = {}
        for name in ("a.txt", "a-b", "z/y/x", ".hidden"):
            with pytest.raises(ArtifactError) as caught:
                tree.open(name)
            reasons[name] = caught.value.findings[0].rule.removeprefix("artifact.")
    assert reasons == {"a.txt": "link", "a-b": "special", "z/y/x": "link", ".hidden": "missing"}


def test_an_opened_model_stays_the_same_folder_when_another_takes_its_name(model: Path) -> None:
    with Tree.of(model) as tree:
        model.rename(model.parent / "old")
        (model / "z" / "y").mkdir(parents=True)
        (model / "z" / "y" / "x").write_bytes(b"other")
        for name in ("a/b", "z/y/x"):
            descriptor = tree.open(name)
            assert os.read(descriptor, 9) == name.encode()
            os.close(descriptor)


def test_unreadable_files_and_folders_are_findings(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def denied(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path in {"y", "a.txt"}:  # root may read everything, so a refusal has to be made
            raise PermissionError(13, "Permission denied")
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", denied)
    assert rules(model) == [("unreadable", "z/y")]
    with Tree.of(model) as tree, pytest.raises(ArtifactError, match=r"a.txt cannot be read: Permission denied"):
        tree.open("a.txt")


def test_a_file_that_vanishes_while_it_is_listed_is_a_finding(model: Path) -> None:
    with os.scandir(model) as listing:
        entry = next(one for one in listing if one.name == "a.txt")
        (model / "a.txt").unlink()
        entries: list[FileEntry] = []
        findings: list[Finding] = []
        _take(entry, "a.txt", entries, findings)
    assert entries == []
    assert [one.rule for one in findings] == ["artifact.missing"]


def test_no_descriptor_is_left_open(model: Path) -> None:
    before = opened(model)
    for _ in range(3):
        walk(model)
        with Tree.of(model) as tree:
            for entry in tree.entries:
                os.close(tree.open(entry.name))
            tree.close()
    (model / "link").symlink_to("x")
    with pytest.raises(ArtifactError):
        walk(model)
    with pytest.raises(ArtifactError):
        walk(model, ignore=["a-b", "a", "a.txt", "z", ".hidden"])
    assert not opened(model) - before


def test_a_long_list_of_reasons_is_cut_in_the_message_only() -> None:
    findings = [Finding("artifact.link", str(index), Severity.ERROR, f"reason {index}") for index in range(7)]
    error = refused("m", findings)
    assert error.message.endswith("reason 4; and 2 more")
    assert len(error.findings) == 7
