"""All settings as a table, for the documentation."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Meta, Struct, structs

from headrace.project.settings import SECTIONS, PoolSection, Section, backends_of, hint, toml, words


class Setting(Struct, frozen=True, kw_only=True):
    """One setting for the documentation: section and key, type in words, default as TOML, and description."""

    section: str
    key: str
    type: str
    default: str
    doc: str

    @property
    def variable(self) -> str:
        """The name of the environment variable that overrides this setting."""
        return "__".join(["HEADRACE", *self.section.upper().split("."), self.key.upper()])


def settings() -> Iterator[Setting]:
    """Yield every setting, in the order of the documentation."""
    for name, section in SECTIONS.items():
        for each in structs.fields(section):
            kind = hint(section, each.encode_name)
            yield Setting(
                section=name,
                key=each.encode_name,
                type=words(kind),
                default=toml(each.default),
                doc=_description(section, each.encode_name),
            )


def _description(section: type[Section], key: str) -> str:
    metas = getattr(hint(section, key), "__metadata__", ())
    text = next((meta.description for meta in metas if isinstance(meta, Meta) and meta.description), "")
    backends = backends_of(key) if section is PoolSection else ()
    return f"{text} For backend {' or '.join(f'`{each}`' for each in backends)}." if backends else text
