"""Files and folders."""

from __future__ import annotations

from headrace.codec.classes import describe
from headrace.codec.misfit import Misfit
from headrace.codec.sink import PARTS_LIMIT, Sink
from headrace.codec.source import Source
from headrace.codec.values import File, Folder


class FileCodec:
    """A file. Its artifact has one part: the file's bytes, under the file's name. Equal bytes under the same name make
    the same artifact."""

    name = "file"
    safe = True

    def takes(self, value: object) -> bool:
        return type(value) is File

    def save(self, value: object, sink: Sink) -> None:
        assert isinstance(value, File)
        if not value.path.is_file():
            raise Misfit(describe(File), f"`{value.path}` is not a file", "write it before the stage ends")
        sink.add_file(value.path, value.name)

    def load(self, source: Source) -> object:
        (name,) = source.names or ()
        return File(source.folder() / name)


class FolderCodec:
    """A folder. Its artifact has one part for each file, under the file's path inside the folder."""

    name = "folder"
    safe = True

    def takes(self, value: object) -> bool:
        return type(value) is Folder

    def save(self, value: object, sink: Sink) -> None:
        assert isinstance(value, Folder)
        if not value.path.is_dir():
            raise Misfit(describe(Folder), f"`{value.path}` is not a folder", "make it before the stage ends")
        sink.compose()
        for count, path in enumerate(value.files()):
            if not path.is_file():
                raise Misfit(describe(Folder), f"`{path}` in it is not a file", "leave out pipes and broken links")
            if count >= PARTS_LIMIT:
                raise Misfit(
                    describe(Folder), f"it has more than {PARTS_LIMIT:,} files", "return one archive as a File"
                )
            sink.add_file(path, path.relative_to(value.path).as_posix())

    def load(self, source: Source) -> object:
        return Folder(source.folder())
