"""Why a handler type cannot run here."""

from pathlib import Path

from handlers.base import Context, Handler, Params, Unavailable
from node.availability import reason
from node.catalogue import signature


class NeedyParams(Params, frozen=True):
    size: int
    model: str = "absent"


class Needy(Handler[NeedyParams]):
    """Its model is never there; without parameters that cannot be known."""

    params_type = NeedyParams

    @classmethod
    def check(cls, params: NeedyParams, context: Context) -> None:
        raise Unavailable(f"model {params.model} is not in {context.model_path}")


class Clumsy(Handler[Params]):
    @classmethod
    def check(cls, params: Params, context: Context) -> None:
        raise ZeroDivisionError("by zero")


HERE = Context(model_path=Path("models"))


def test_the_handlers_own_reason_is_given() -> None:
    assert reason(f"{__name__}:Needy", {"size": 1}, HERE) == "model absent is not in models"


def test_parameters_without_default_are_the_services_business() -> None:
    assert reason(f"{__name__}:Needy", {}, HERE) is None


def test_a_class_that_is_not_there_is_named() -> None:
    assert "nowhere.at.all:Thing" in str(reason("nowhere.at.all:Thing", {}, HERE))


def test_a_handlers_own_fault_hides_no_others() -> None:
    assert reason(f"{__name__}:Clumsy", {}, HERE) == "ZeroDivisionError: by zero"


def test_the_signature_follows_files(tmp_path: Path) -> None:
    before = signature([tmp_path, tmp_path / "absent"])
    assert signature([tmp_path, tmp_path / "absent"]) == before
    (tmp_path / "model.dat").write_bytes(b"1")
    assert signature([tmp_path, tmp_path / "absent"]) != before
