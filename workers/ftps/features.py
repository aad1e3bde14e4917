"""What a server says it can do (FEAT, RFC 2389), and what it has taught us about itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from workers.ftps.digests import ways


@dataclass(frozen=True, slots=True)
class Features:
    """A server's abilities.

    offered: FEAT's lines, as they came. mlsd, size, mdtm, rest_stream, utf8: RFC 3659, RFC 2640. hashes:
    algorithms for which the server has a command, best first (`digests.ways`). epsv, eprt: False once
    the command was refused for good, which FEAT does not say (learned; kept while `offered` stays the same).
    telnet: whether 0xFF in a name has to be sent twice, as Telnet has it (learned; None: not asked yet).
    rename_flights: whether renames of several files may leave together (`renaming`; learned, None as above).
    ports_ahead: whether the next transfer's port may be asked for behind the command of this one (`transfer`;
    learned, None as above).
    """

    offered: tuple[str, ...] = ()
    mlsd: bool = False
    size: bool = False
    mdtm: bool = False
    rest_stream: bool = False
    utf8: bool = False
    hashes: tuple[str, ...] = ()
    epsv: bool = True
    eprt: bool = True
    telnet: bool | None = None
    rename_flights: bool | None = None
    ports_ahead: bool | None = None

    @property
    def learned(self) -> tuple[str, ...]:
        """What lines have found out that FEAT does not say, in words."""
        told = {
            "EPSV is refused: PASV is sent": not self.epsv,
            "EPRT is refused: PORT is sent": not self.eprt,
            "MLSD is refused: LIST is sent": not self.mlsd and offers_mlsd(self.offered),
            "a byte 0xFF in a name is sent twice (Telnet)": self.telnet,
            "renames leave one by one": self.rename_flights is False,
            "a data port is asked for when the transfer before has ended": self.ports_ahead is False,
        }
        return tuple(words for words, so in told.items() if so)

    @classmethod
    def from_feat(cls, lines: Sequence[bytes]) -> Features:
        """Read the lines of a 211 reply; its first and last line are no features (RFC 2389 §3.2)."""
        offered = tuple(text for line in lines[1:-1] if (text := line.decode("utf-8", "replace").strip()))
        words = [line.upper().split(None, 1) for line in offered]
        names = {word[0] for word in words}
        return cls(
            offered=offered,
            mlsd=offers_mlsd(offered),
            size="SIZE" in names,
            mdtm="MDTM" in names,
            rest_stream=any(word[0] == "REST" and "STREAM" in word[-1] for word in words),
            utf8="UTF8" in names,
            hashes=tuple(dict.fromkeys(way.algorithm for way in ways(offered))),
        )

    def with_learned(self, known: Features | None) -> Features:
        """Keep what an earlier line has learned, while the server still says the same of itself."""
        if known is None or known.offered != self.offered:
            return self
        return replace(
            self,
            epsv=known.epsv,
            eprt=known.eprt,
            mlsd=self.mlsd and known.mlsd,
            telnet=known.telnet,
            rename_flights=known.rename_flights,
            ports_ahead=known.ports_ahead,
        )

    def to_json(self) -> str:
        """For the ledger."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Features | None:
        """Back from the ledger; None for what another Towline wrote, since FEAT is asked anyway."""
        try:
            told: Any = json.loads(text)
            return cls(
                offered=tuple(str(line) for line in told["offered"]),
                hashes=tuple(str(name) for name in told["hashes"]),
                telnet=_known(told["telnet"]),
                rename_flights=_known(told["rename_flights"]),
                ports_ahead=_known(told["ports_ahead"]),
                **{
                    name: bool(told[name])
                    for name in ("mlsd", "size", "mdtm", "rest_stream", "utf8", "epsv", "eprt")
                },
            )
        except (ValueError, KeyError, TypeError):
            return None


def _known(told: object) -> bool | None:
    return None if told is None else bool(told)


def offers_mlsd(offered: Sequence[str]) -> bool:
    """RFC 3659 §7.8: MLST in FEAT stands for both commands; some servers list MLSD beside it."""
    return any(line.upper().split(None, 1)[0] in ("MLST", "MLSD") for line in offered)
