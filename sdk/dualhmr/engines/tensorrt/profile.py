"""For how many persons an engine is made."""

from dataclasses import dataclass

_MOST = 4096


@dataclass(frozen=True)
class Profile:
    """The fewest persons that an engine takes at once, the number it is fastest for, the most."""

    min_batch: int
    opt_batch: int
    max_batch: int

    def __post_init__(self) -> None:
        if not 1 <= self.min_batch <= self.opt_batch <= self.max_batch <= _MOST:
            raise ValueError(
                f"a profile needs 1 <= min <= opt <= max <= {_MOST} persons, got "
                f"min {self.min_batch}, opt {self.opt_batch}, max {self.max_batch}"
            )

    def __str__(self) -> str:
        return f"{self.min_batch}-{self.opt_batch}-{self.max_batch}"


def profile_up_to(max_batch: int) -> Profile:
    """The profile for photographs: any number up to `max_batch`, fastest for one person."""
    return Profile(1, 1, max_batch)
